"""The walk of pictures: staged uploads → pictures found in them → sorted frames with sizes → the task's data.

Pictures stay where the upload put them (a form's body, a zip, a single file); what is stored is where each one lies.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.archive import Archive, ByteSource, Entry, open_archive
from app.columns import Ragged
from app.errors import AppError, InvalidInput, Report
from app.images import PictureSize, measure_picture
from app.operations.arrange import (
    Segments,
    Zips,
    arrange,
    cut_segments,
    default_chunk_size,
    frame_step,
    last_part,
    mapped_segments,
    unzipped,
)
from app.operations.work import Limits, Work
from app.storage import BlobSource, FrameColumns, FramePlaces, TaskData, Upload, frames, tasks, uploads

PICTURE_EXTENSIONS = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".dib", ".webp", ".tif", ".tiff")
)
CLUTTER = ("__MACOSX", "._")
DEFAULT_QUALITY = 70
HEADER_BYTES = 64 << 10
STORED, DEFLATED = 0, 8


@dataclass(frozen=True, slots=True)
class Found:
    """One picture within an upload; there may be a million, so none has more than its numbers.

    Attributes:
        pack, offset: the upload, and where the picture begins in it.
        member: its number among the members of its zip.
        holder: what it was found in; all pictures of a zip have the same.
    """

    name: str
    pack: int
    offset: int
    stored_size: int
    size: int
    method: int
    crc: int
    member: int
    holder: Holder

    def read(self, start: int, length: int) -> bytes:
        """The picture's own bytes."""
        if self.method == STORED:
            place = self.offset - self.holder.offset
            return self.holder.source.read_at(place + start, max(0, min(length, self.size - start)))
        assert self.holder.archive is not None
        return _inflated(self.holder.archive, self.holder.archive.entries[self.member], start, length)


@dataclass(frozen=True, slots=True)
class Holder:
    """A file of an upload with pictures in it: its bytes, where it begins in the upload, and the zip that it is."""

    source: ByteSource
    offset: int
    archive: Archive | None = None


class Part:
    """A stretch of a source, read as if it were the whole: a file of a form."""

    def __init__(self, source: BlobSource, offset: int, size: int) -> None:
        self._source, self._offset, self.size = source, offset, size

    def read_at(self, offset: int, length: int) -> bytes:
        return self._source.read_at(self._offset + offset, max(0, min(length, self.size - offset)))


def ingest_images(work: Work, *, limits: Limits) -> None:
    """Handler of `create:task`: attaches the uploaded pictures to the task, once.

    Raises:
        InvalidInput: no picture, a file that is none, a name twice, parameters that do not fit.
    """
    task_id = work.request.task_id
    assert task_id is not None
    params = dict(work.options.get("params") or {})
    report = Report(limit=limits.max_problems)
    with work.storage.database.read() as conn:
        task = tasks.load(conn, task_id)
        staged = [uploads.load(conn, upload_id) for upload_id in work.request.upload_ids]
    sources: list[BlobSource] = []
    try:
        found: list[Found] = []
        zips: dict[str, list[list[str]]] = {}
        for pack, upload in enumerate(staged):
            source = uploads.open_source(work.storage, upload)
            sources.append(source)
            found += find_pictures(source, upload, pack, limits, report, zips)
            work.progress(0.1 * (pack + 1) / len(staged), "reading the uploads")
        if not found:
            left = f"; {report.warnings[0]}" if report.warnings else ""
            raise InvalidInput(f"the upload holds no picture; send pictures, or a zip with pictures in it{left}")
        order, segments = order_frames(found, params, zips, task.segment_size, task.overlap, seed=task_id)
        chosen = [found[index] for index in order]
        sizes = measure_all(chosen, limits, work)
    finally:
        for source in sources:
            source.close()
    first = sizes[0]
    data = TaskData(
        jobs=tuple((start, stop + 1) for start, stop in segments.jobs),
        segment_size=segments.segment_size,
        overlap=segments.overlap,
        image_quality=int(params.get("image_quality", DEFAULT_QUALITY)),
        chunk_size=int(params.get("chunk_size") or default_chunk_size(first.width, first.height)),
        start_frame=int(params.get("start_frame") or 0),
        stop_frame=_stop_frame(params, len(chosen)),
        frame_filter=params.get("frame_filter") or "",
        sorting_method=params.get("sorting_method") or "lexicographical",
    )
    report.summary["frames"] = len(chosen)
    message = f"{len(chosen)} frame{'s' * (len(chosen) != 1)}"
    if report.n_warnings:
        several = "s" * (report.n_warnings != 1)
        message += f"; left alone of the upload: {report.n_warnings} file{several}, first: {report.warnings[0]}"
    with work.finishing(message=message, report=report.to_dict()) as conn:
        indices = frames.add_packs(conn, task_id, [upload.segments for upload in staged])
        tasks.attach_data(conn, task_id, data, frame_columns(chosen, sizes, indices))
        for upload in staged:
            uploads.delete(conn, upload.id, keep_bytes=True)


def _stop_frame(params: Mapping[str, Any], n_frames: int) -> int:
    start = int(params.get("start_frame") or 0)
    return start + (n_frames - 1) * frame_step(params.get("frame_filter") or "")


def find_pictures(
    source: BlobSource, upload: Upload, pack: int, limits: Limits, report: Report, zips: dict[str, list[list[str]]]
) -> list[Found]:
    """The pictures of one upload: its files, and the members of its zips. What is none in a zip is reported; which
    pictures a zip holds is put into `zips`.

    Raises:
        InvalidInput: a file that is neither a picture nor a zip; it is named.
    """
    found: list[Found] = []
    files = [(part.name, part.offset, part.size) for part in upload.parts] or [(upload.filename, 0, upload.length)]
    for client_name, offset, size in files:
        name = last_part(client_name)
        part = Part(source, offset, size)
        if part.read_at(0, 4)[:2] == b"PK":
            members = find_members(Holder(part, offset, open_archive(part, limits.archive)), name, pack, report)
            zips.setdefault(name, []).append([picture.name for picture in members])
            found += members
        elif extension(name) in PICTURE_EXTENSIONS:
            found.append(Found(name, pack, offset, size, size, STORED, -1, 0, Holder(part, offset)))
        else:
            raise InvalidInput(
                f"{name!r} is neither a picture ({', '.join(sorted(PICTURE_EXTENSIONS))}) nor a zip of pictures",
                place="client_files",
            )
    return found


def find_members(holder: Holder, archive_name: str, pack: int, report: Report) -> list[Found]:
    """The pictures in a zip, with their folders; anything else in it is left alone, as CVAT does, but not silently."""
    found = []
    assert holder.archive is not None
    for entry in holder.archive.entries:
        if entry.is_dir or is_clutter(entry.name):
            continue
        if extension(entry.name) in PICTURE_EXTENSIONS:
            found.append(found_member(holder, entry, entry.name, pack))
        elif extension(entry.name) == ".zip":
            report.warn(
                "image.nested_zip",
                f"a zip within {archive_name}, whose pictures are not taken; unpack it, or upload it by itself",
                file=entry.name,
            )
        else:
            report.warn("image.not_a_picture", f"no picture, left alone in {archive_name}", file=entry.name)
    return found


def found_member(holder: Holder, entry: Entry, name: str, pack: int) -> Found:
    """A member of a zip as the picture `name`."""
    place = holder.offset + entry.offset
    return Found(name, pack, place, entry.compressed_size, entry.size, entry.method, entry.crc, entry.number, holder)


def _inflated(archive: Archive, entry: Entry, start: int, length: int) -> bytes:
    """Part of a deflated member; headers lie at the front, so this stops early."""
    data = bytearray()
    for block in archive.blocks(entry, HEADER_BYTES):
        data += block
        if len(data) >= start + length:
            break
    return bytes(data[start : start + length])


def is_clutter(name: str) -> bool:
    """Whether a desktop left this beside the pictures, by whose name it goes."""
    *folders, base = name.split("/")
    return CLUTTER[0] in folders or base.startswith(CLUTTER[1])


def extension(name: str) -> str:
    return posixpath.splitext(name)[1].lower()


def order_frames(
    found: Sequence[Found], params: Mapping[str, Any], zips: Zips, segment_size: int, overlap: int, seed: int
) -> tuple[list[int], Segments]:
    """The order of the pictures and the jobs. Raises InvalidInput for a name twice."""
    names = [picture.name for picture in found]
    if len(set(names)) != len(names):
        seen: set[str] = set()
        twice = next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        message = f"{twice!r} was uploaded twice; frame names must differ (use folders in a zip)"
        if len({picture.pack for picture in found if picture.name == twice}) > 1:
            message += (
                ". If you sent it once: it still waited here from an earlier try that was not finished. Both are given "
                "up now; send the pictures again"
            )
        raise InvalidInput(message)
    mapping = params.get("job_file_mapping")
    if mapping:
        return mapped_segments(names, [unzipped(job, zips, "job_file_mapping") for job in mapping])
    wanted = unzipped(params.get("upload_file_order") or [], zips, "upload_file_order")
    order = arrange(names, {**params, "upload_file_order": wanted}, seed)
    return order, cut_segments(len(order), segment_size, overlap)


def measure_all(chosen: Sequence[Found], limits: Limits, work: Work) -> list[PictureSize]:
    """Sizes from the headers. Raises InvalidInput that names the picture which is too big or none at all."""
    sizes = []
    for index, picture in enumerate(chosen):
        if picture.size > limits.max_image_bytes:
            raise InvalidInput(
                f"{picture.name!r} has {picture.size:,} bytes, {limits.max_image_bytes:,} are allowed",
                code="image.too_big",
            )
        try:
            sizes.append(measure_picture(picture.read, picture.size, max_pixels=limits.max_image_pixels))
        except AppError as error:
            raise InvalidInput(f"{picture.name!r}: {error.detail}", code=error.code) from error
        if index % 256 == 0:
            work.progress(0.1 + 0.8 * index / len(chosen), "reading picture headers")
    return sizes


def frame_columns(chosen: Sequence[Found], sizes: Sequence[PictureSize], packs: Sequence[int]) -> FrameColumns:
    """Everything the store keeps of the frames, as columns."""
    places = FramePlaces(
        packs=np.array([packs[picture.pack] for picture in chosen], dtype=np.int32),
        offsets=np.array([picture.offset for picture in chosen], dtype=np.int64),
        stored_sizes=np.array([picture.stored_size for picture in chosen], dtype=np.int64),
        sizes=np.array([picture.size for picture in chosen], dtype=np.int64),
        methods=np.array([picture.method for picture in chosen], dtype=np.uint8),
        crcs=np.array([picture.crc for picture in chosen], dtype=np.int64),
        orientations=np.array([size.orientation for size in sizes], dtype=np.uint8),
    )
    return FrameColumns(
        names=Ragged.from_bytes([picture.name.encode("utf-8") for picture in chosen]),
        widths=np.array([size.width for size in sizes], dtype=np.int32),
        heights=np.array([size.height for size in sizes], dtype=np.int32),
        places=places,
    )
