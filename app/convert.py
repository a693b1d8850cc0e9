"""An archive into another of the same data without a service: read, kept in a scratch store, written otherwise.

    files → archive → format → scratch store (a folder that goes away) → format → archive

It is the walk of an import and of an export: what a task would keep is kept, what would be refused is refused.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from app.annotations import FrameTable
from app.archive import Archive, ArchiveWriter, BytesSource, FileSource
from app.background import limits_of
from app.check import frames_and_labels, open_paths, size_of_picture
from app.columns import Ragged
from app.errors import InvalidInput, Report, Unsupported, shorten
from app.formats import ExportOptions, Format, Picture, Progress, Target, read_selected
from app.operations import (
    PICTURE_EXTENSIONS,
    TaskSource,
    choose_format,
    extension,
    find_new_labels,
    import_options,
    with_labels,
)
from app.settings import Settings
from app.storage import FrameColumns, FramePlaces, Storage, TaskData, open_storage, tasks, users
from app.storage import annotations as stored

READ_SHARE = 0.6
CHUNK_BYTES = 1 << 20
NAMES_TOLD = 3


def convert_archive(
    settings: Settings,
    paths: Sequence[Path],
    output: Path,
    frames_path: Path | None,
    labels_path: Path | None,
    format_name: str | None,
    options: Mapping[str, Any],
    export_options: ExportOptions,
    size: tuple[int, int] | None,
    progress: Progress,
) -> Report:
    """Write `output`, whole or not at all. Returns the report of reading and writing.

    Args:
        size: width and height of images whose size nothing tells.

    Raises:
        ImportProblems: the archive was refused.
        InvalidInput: frames, labels, options that cannot be; an image without a size, or without its picture.
    """
    limits = limits_of(settings)
    report = Report(limit=limits.max_problems)
    with ExitStack() as stack:
        sources = [stack.enter_context(FileSource(path)) for path in paths]
        archive = open_paths(paths, sources, limits)
        format_ = choose_format(format_name, archive.names())
        if format_.write is None:
            raise Unsupported(f"{format_.display_name} archives cannot be written")
        chosen = import_options(options, limits)
        target = frames_and_labels(archive, format_, frames_path, labels_path, chosen, unknown_side=0)
        target = with_pictures(target, archive, format_, size)
        target = with_labels(*find_new_labels(archive, format_, target, chosen, report))
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="annoport-"))
        storage = stack.enter_context(closing(open_storage("", "", Path(folder), min_free_bytes=0)))
        task_id = make_task(storage, len(target.frames))
        with stored.begin_set(storage, task_id) as writer:
            read_selected(format_, archive, target, chosen, writer, report, lambda done: progress(READ_SHARE * done))
            archive.verify()
            report.raise_if_errors()
            report.summary["annotations"] = writer.close()
            with storage.database.write() as conn:
                stored.publish(conn, writer.set_id)
        part = output.with_name(f"{output.name}.part")
        try:
            with part.open("wb") as file, storage.database.snapshot() as conn:
                pictures = (
                    Pictures(archive, format_, target.frames, frames_path) if export_options.save_images else None
                )
                source = stack.enter_context(closing(PicturedSource(TaskSource(conn, storage, task_id), pictures)))
                out = ArchiveWriter(file.write)
                format_.write(
                    source,
                    target,
                    out,
                    export_options,
                    report,
                    lambda done: progress(READ_SHARE + (1 - READ_SHARE) * done),
                )
                out.close()
            part.replace(output)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    return report


def make_task(storage: Storage, n_frames: int) -> int:
    """A task with so many frames, of which nobody asks more than their number."""
    numbers = np.zeros(n_frames, dtype=np.int64)
    columns = FrameColumns(
        names=Ragged.from_bytes([b"%d" % number for number in range(n_frames)]),
        widths=np.ones(n_frames, dtype=np.int32),
        heights=np.ones(n_frames, dtype=np.int32),
        places=FramePlaces(
            packs=numbers.astype(np.int32),
            offsets=numbers,
            stored_sizes=numbers,
            sizes=numbers,
            methods=numbers.astype(np.uint8),
            crcs=numbers - 1,
            orientations=np.ones(n_frames, dtype=np.uint8),
        ),
    )
    with storage.database.write() as conn:
        owner = users.create(conn, "convert", None)
        task = tasks.create(conn, owner, "convert")
        data = TaskData(jobs=((0, n_frames),), segment_size=n_frames, stop_frame=n_frames - 1)
        return tasks.attach_data(conn, task.id, data, columns).id


def with_pictures(target: Target, archive: Archive, format_: Format, size: tuple[int, int] | None) -> Target:
    """The target with a size for each frame: told, else that of the archive's picture, else `size`.

    A frame that nothing names but its id is called as its picture is, whose extension tells readers what it is.

    Raises:
        InvalidInput: a frame has no size, a picture cannot be measured, or there is no frame.
    """
    frames = target.frames
    if not len(frames):
        raise InvalidInput("the archive names no image; give --frames")
    widths, heights = frames.widths.astype(np.int32), frames.heights.astype(np.int32)
    entries = picture_entries(archive, format_)
    names = frames.names.to_texts() if entries else []
    taken = set(names)
    for row, name in enumerate(names):
        path = picture_of(name, entries)
        if path is not None and extension(name) not in PICTURE_EXTENSIONS:
            called = name + os.path.splitext(path)[1]
            if called not in taken:
                names[row] = called
        if path is not None and not widths[row]:
            data = archive.read(archive.entry(path))
            widths[row], heights[row] = size_of_picture(path, BytesSource(bytes(data)).read_at, len(data))
    left = np.flatnonzero(widths == 0)
    if len(left) and size is None:
        some = ", ".join(f'"{shorten(frames.name(row))}"' for row in left[:NAMES_TOLD].tolist())
        raise InvalidInput(
            f"the size of {len(left):,} images is told nowhere, such as {some}; give --frames (a folder, or lines of "
            "`name width height`) or --size WIDTHxHEIGHT"
        )
    if size is not None:
        widths[left], heights[left] = size
    column = Ragged.from_bytes([name.encode("utf-8") for name in names]) if names else frames.names
    sized = FrameTable(column, widths, heights, frames.deleted).narrow()
    return Target(sized, target.labels, target.subsets, target.name)


def picture_entries(archive: Archive, format_: Format) -> dict[str, str]:
    """The archive's own pictures: path by name, with and without extension."""
    found: dict[str, str] = {}
    for picture in format_.pictures(archive) if format_.pictures is not None else ():
        found.setdefault(picture.name, picture.path)
        found.setdefault(_stem(picture.name), picture.path)
    return found


def picture_of(name: str, entries: Mapping[str, str]) -> str | None:
    """The path of a frame's picture among the archive's own; another extension than the frame's will do."""
    found = entries.get(name)
    return entries.get(_stem(name)) if found is None and extension(name) in PICTURE_EXTENSIONS else found


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]


class Pictures:
    """Where the pictures of frames are: in the folder that names them, or in the archive."""

    def __init__(self, archive: Archive, format_: Format, frames: FrameTable, folder: Path | None) -> None:
        self._archive, self._frames = archive, frames
        self._folder = folder if folder is not None and folder.is_dir() else None
        self._entries = picture_entries(archive, format_)

    def get(self, frame: int) -> Picture:
        name = self._frames.name(frame)
        if self._folder is not None:
            path = self._folder / name
            return Picture(path.stat().st_size, lambda: _chunks(path))
        entry = picture_of(name, self._entries)
        if entry is None:
            raise InvalidInput(f'the archive has no picture of "{shorten(name)}"; give --frames FOLDER')
        member = self._archive.entry(entry)
        return Picture(member.size, lambda: self._archive.blocks(member))


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


class PicturedSource:
    """A task's rows, with pictures from elsewhere; all else is the source's."""

    def __init__(self, source: TaskSource, pictures: Pictures | None) -> None:
        self._source, self._pictures = source, pictures
        self.images, self.tags, self.shapes = source.images, source.tags, source.shapes
        self.grouped_tags = source.grouped_tags
        self.tracks, self.rows, self.extras = source.tracks, source.rows, source.extras
        self.subsets, self.only_subset = source.subsets, source.only_subset
        self.kept_bytes, self.close = source.kept_bytes, source.close

    def part(self, wanted: npt.NDArray[np.bool_]) -> PicturedSource:
        return self

    def picture(self, frame: int) -> Picture:
        assert self._pictures is not None
        return self._pictures.get(frame)
