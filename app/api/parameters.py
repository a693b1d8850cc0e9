"""The parameters of a task's data (cvat-api 7.1), as JSON or as the texts of a form.

{"image_quality": 70, "job_file_mapping": [["a.png"], ["b.png"]]}
image_quality=70   job_file_mapping[0][0]=a.png   job_file_mapping[1][0]=b.png
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from app.api.queries import parse_choice, parse_whole
from app.errors import InvalidInput, Unsupported, shorten

SORTING_METHODS = ("lexicographical", "natural", "predefined", "random")
MAX_FRAME = 2**31 - 1
MAX_NAMES = 1_000_000

REFUSED = {
    "remote_files": "pictures are not fetched from other addresses",
    "server_files": "there is no share of server files",
    "server_files_path": "there is no share of server files",
    "server_files_exclude": "there is no share of server files",
    "filename_pattern": "there is no share of server files",
    "cloud_storage_id": "cloud storages are not offered",
    "validation_params": "ground truth jobs are not offered",
}

_FILTER = re.compile(r"step\s*=\s*[1-9]\d{0,8}")
_INDEX = re.compile(r"\[(\d{0,7})\]")


def data_params(given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that are kept, checked. Hints about storage, and names nobody knows, are left out.

    Raises:
        InvalidInput: a value that the parameter does not have.
        Unsupported: pictures from anywhere but the client.
    """
    for name, reason in REFUSED.items():
        if given.get(name) not in (None, "", [], {}):
            raise Unsupported(f"{name}: {reason} here; upload the pictures", code="data.source")
    params: dict[str, Any] = {}
    for name, low, high in (
        ("image_quality", 0, 100),
        ("chunk_size", 1, MAX_FRAME),
        ("start_frame", 0, MAX_FRAME),
        ("stop_frame", 0, MAX_FRAME),
    ):
        if given.get(name) not in (None, ""):
            params[name] = parse_whole(name, given[name], low, high)
    if "stop_frame" in params and params["stop_frame"] < params.get("start_frame", 0):
        raise InvalidInput("lies before start_frame", place="stop_frame")
    if given.get("sorting_method"):
        params["sorting_method"] = parse_choice("sorting_method", str(given["sorting_method"]), SORTING_METHODS)
    if given.get("frame_filter"):
        text = str(given["frame_filter"]).strip()
        if not _FILTER.fullmatch(text):
            raise InvalidInput(f'must be step=N with N from 1; got "{shorten(text)}"', place="frame_filter")
        params["frame_filter"] = text
    if given.get("upload_file_order"):
        params["upload_file_order"] = _names("upload_file_order", given["upload_file_order"])
    if given.get("job_file_mapping"):
        params["job_file_mapping"] = _mapping(given["job_file_mapping"])
        for name in ("start_frame", "stop_frame", "frame_filter"):
            if name in params:
                raise InvalidInput(
                    f"names every file and its job; it does not go with {name}", place="job_file_mapping"
                )
    return params


def _names(place: str, value: object) -> list[str]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise InvalidInput("a list of file names is needed", place=place)
    if len(value) > MAX_NAMES:
        raise InvalidInput(f"more than {MAX_NAMES:,} names", place=place)
    return value


def _mapping(value: object) -> list[list[str]]:
    """One list of names a job; CVAT's clients also send `[{"files": […]}]`."""
    if not isinstance(value, list):
        raise InvalidInput("a list of lists of file names is needed, one a job", place="job_file_mapping")
    jobs = []
    for index, job in enumerate(value):
        names = job.get("files") if isinstance(job, dict) else job
        if not isinstance(names, list):
            raise InvalidInput("a list of file names is needed", place=f"job_file_mapping[{index}]")
        names = _names(f"job_file_mapping[{index}]", names)
        if not names:
            raise InvalidInput("a job needs at least one file", place=f"job_file_mapping[{index}]")
        jobs.append(names)
    return jobs


def from_texts(texts: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The fields of a form as JSON would have them: `name[0]`, `name[0][1]`, a name that repeats, JSON in a text."""
    found: dict[str, Any] = {}
    for key, text in texts:
        name, _, rest = key.partition("[")
        indices = _INDEX.findall(f"[{rest}") if rest else []
        if name in ("upload_file_order", "job_file_mapping", *REFUSED) and text[:1] in ("[", "{") and not indices:
            found[name] = _json(name, text)
        elif name == "job_file_mapping" and indices:
            _put(found.setdefault(name, []), indices, text)
        elif indices or name == "upload_file_order" or name in found:
            _append(found, name, text)
        else:
            found[name] = text
    return found


def _append(found: dict[str, Any], name: str, text: str) -> None:
    values = found.setdefault(name, [])
    found[name] = [*values, text] if isinstance(values, list) else [values, text]


def _put(jobs: list[list[str]], indices: Sequence[str], text: str) -> None:
    """Texts come in order, so an index only says whether a new job begins."""
    job = int(indices[0] or 0)
    if job not in (len(jobs) - 1, len(jobs)):
        raise InvalidInput("jobs must be numbered from 0 in order", place="job_file_mapping")
    if job == len(jobs):
        jobs.append([])
    jobs[job].append(text)


def _json(name: str, text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"not valid JSON: {error}", place=name) from None
