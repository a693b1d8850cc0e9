"""From uploaded pictures to numbered frames and jobs: CVAT's rules of order, range, chunk and segment.

Source: CVAT's task data parameters (`sorting_method`, `start_frame`, `stop_frame`, `frame_filter`, `segment_size` …).
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.annotations import nearest_texts
from app.columns import Ragged
from app.errors import InvalidInput, shorten

SORTING_METHODS = ("lexicographical", "natural", "predefined", "random")
DIGITS = re.compile(r"(\d+)")
IN_FORMS = str.maketrans({'"': "%22", "\n": "%0A", "\r": "%0D"})
"""How forms write what would end a file's name (WHATWG, multipart/form-data); lists of names have it plainly."""
# CVAT's own: a chunk holds about 36 full-HD pictures, within these bounds.
CHUNK_PIXELS, MIN_CHUNK, MAX_CHUNK = 36 * 1920 * 1080, 2, 72


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Digits compare as numbers, all else as text: img2 before img10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in DIGITS.split(name) if part]


def arrange(names: Sequence[str], params: dict[str, Any], seed: int) -> list[int]:
    """The indices of `names` in frame order: sorted, then cut to the asked range.

    Raises:
        InvalidInput: unknown method, a predefined order that does not name the uploaded files, an empty range.
    """
    order = list(range(len(names)))
    method = params.get("sorting_method") or "lexicographical"
    if method == "lexicographical":
        order.sort(key=lambda i: names[i])
    elif method == "natural":
        order.sort(key=lambda i: natural_key(names[i]))
    elif method == "random":
        random.Random(seed).shuffle(order)
    elif method == "predefined":
        order = named_order(names, params.get("upload_file_order") or [], "upload_file_order")
    else:
        raise InvalidInput(f"must be one of {', '.join(SORTING_METHODS)}; got {method!r}", place="sorting_method")
    start = params.get("start_frame") or 0
    last = len(order) - 1
    stop = last if params.get("stop_frame") is None else min(int(params["stop_frame"]), last)
    step = frame_step(params.get("frame_filter") or "")
    chosen = order[start : stop + 1 : step]
    if not chosen:
        raise InvalidInput(f"no frame is left of {len(order)} with start_frame {start}, stop_frame {stop}, step {step}")
    return chosen


def frame_step(frame_filter: str) -> int:
    """The step of a frame filter `step=N`; 1 for an empty one."""
    if not frame_filter:
        return 1
    match = re.fullmatch(r"step\s*=\s*([1-9]\d{0,8})", frame_filter.strip())
    if match is None:
        raise InvalidInput(f"must be step=N with N from 1; got {frame_filter!r}", place="frame_filter")
    return int(match.group(1))


def named_order(names: Sequence[str], wanted: Sequence[str], place: str) -> list[int]:
    """The indices of `names` in the order in which `wanted` names them, by their whole name or by its last component.

    Raises:
        InvalidInput: `wanted` does not name each uploaded file once; `place` is the parameter it came in.
    """
    if not wanted:
        return list(range(len(names)))
    by_name = {name: index for index, name in enumerate(names)}
    by_base: dict[str, int] = {}
    for index, name in enumerate(names):
        by_base.setdefault(last_part(name), index)
    order = []
    for name in wanted:
        base = last_part(name)
        found = by_name.get(name, by_name.get(base, by_base.get(base)))
        if found is None:
            found = by_name.get(base.translate(IN_FORMS))
        if found is None:
            near = nearest_texts(name, Ragged.from_bytes([other.encode() for other in names]), 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InvalidInput(f"{shorten(name)!r} was not uploaded{hint}", place=place)
        order.append(found)
    if sorted(order) != list(range(len(names))):
        left = sorted(set(range(len(names))) - set(order))
        what = f"{names[left[0]]!r} is missing" if left else "a file is named twice"
        raise InvalidInput(f"must name each uploaded file once: {what}", place=place)
    return order


def last_part(name: str) -> str:
    """A file's name without its folders, whichever slash is between them."""
    return name.replace("\\", "/").rsplit("/", 1)[-1]


Zips = Mapping[str, Sequence[Sequence[str]]]
"""File name of an uploaded zip → the names of the pictures in it; several where several have this name."""


def unzipped(wanted: Sequence[str], zips: Zips, place: str) -> list[str]:
    """`wanted` with the pictures of an uploaded zip, in the zip's order, where it names the zip: clients name the files
    that they send.

    Raises:
        InvalidInput: a zip is named more often than it was uploaded.
    """
    used = dict.fromkeys(zips, 0)
    names: list[str] = []
    for name in wanted:
        base = last_part(name)
        if base not in zips:
            names.append(name)
        elif used[base] < len(zips[base]):
            names += zips[base][used[base]]
            used[base] += 1
        else:
            raise InvalidInput(f"must name each uploaded file once: {shorten(base)!r} is named twice", place=place)
    return names


def default_chunk_size(width: int, height: int) -> int:
    return max(MIN_CHUNK, min(MAX_CHUNK, CHUNK_PIXELS // max(1, width * height)))


@dataclass(frozen=True, slots=True)
class Segments:
    """Jobs as (first, last) frame, both inclusive, with the sizes the task then reports."""

    jobs: tuple[tuple[int, int], ...]
    segment_size: int
    overlap: int


def cut_segments(n_frames: int, segment_size: int, overlap: int) -> Segments:
    """CVAT's jobs: starts 0, s-o, 2(s-o), … while start < size - o; overlap is at most half a segment."""
    if segment_size <= 0 or segment_size >= n_frames:
        return Segments(((0, n_frames - 1),), n_frames, 0)
    overlap = min(max(0, overlap), segment_size // 2)
    starts = range(0, max(1, n_frames - overlap), segment_size - overlap)
    jobs = tuple((start, min(start + segment_size, n_frames) - 1) for start in starts)
    return Segments(jobs, segment_size, overlap)


def mapped_segments(names: Sequence[str], mapping: Sequence[Sequence[str]]) -> tuple[list[int], Segments]:
    """Order and jobs of a `job_file_mapping`: lists of file names, one a job, each uploaded file once.

    Returns:
        The indices of `names` in frame order, and the jobs.
    """
    order = named_order(names, [name for job in mapping for name in job], "job_file_mapping")
    jobs, start = [], 0
    for job in mapping:
        if not job:
            raise InvalidInput("a job needs at least one file", place="job_file_mapping")
        jobs.append((start, start + len(job) - 1))
        start += len(job)
    return order, Segments(tuple(jobs), max(len(job) for job in mapping), 0)
