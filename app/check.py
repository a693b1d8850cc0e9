"""Checking an archive without a service: the same reader, the same report, nothing stored.

The target is what the task would be: pictures from a folder or a list, labels from a file. What is not given is taken
from the archive itself, so that even a lone zip can be checked for everything it says.
"""

from __future__ import annotations

import json
import tempfile
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import numpy as np

from app.annotations import AttributeSpec, FrameTable, Label, LabelCatalog, TextLookup
from app.archive import Archive, FileRules, FileSource, JoinedSource, SentFile, open_files
from app.background import limits_of
from app.columns import Ragged, Texts
from app.errors import ImportProblems, InvalidInput, Problem, Report, shorten
from app.findings import find_columns
from app.formats import (
    Format,
    ImportOptions,
    Progress,
    Target,
    knows,
    looks_into,
    parse_renaming,
    read_selected,
)
from app.images import BadPicture, PictureTooBig, ReadAt, measure_picture
from app.operations import (
    PICTURE_EXTENSIONS,
    CountingSink,
    Limits,
    choose_format,
    find_new_labels,
    import_options,
    is_clutter,
    with_labels,
)
from app.settings import Settings

# A size for frames of which nothing tells one: coordinates are relative, so any will do for a check.
UNKNOWN_SIDE = 1000
MAX_SIDE = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found; `columns`: the character of its line at which a problem's cell begins, where that is sure."""

    report: Report
    columns: dict[Problem, int]


def check_archive(
    settings: Settings,
    paths: Sequence[Path],
    frames_path: Path | None,
    labels_path: Path | None,
    format_name: str | None,
    options: Mapping[str, Any],
    progress: Progress = lambda done: None,
    *,
    with_columns: bool = False,
) -> Checked:
    """Read all of an archive and report on it. Problems of the archive are in the report, not raised.

    Args:
        paths: the files that would be sent: a zip, or several files that are one archive together.

    Raises:
        InvalidInput: frames or labels that cannot be read, an unknown format name.
    """
    limits = limits_of(settings)
    report = Report(limit=limits.max_problems)
    columns: dict[Problem, int] = {}
    archive: Archive | None = None
    with ExitStack() as stack:
        try:
            sources = [stack.enter_context(FileSource(path)) for path in paths]
            archive = open_paths(paths, sources, limits)
            format_ = choose_format(format_name, archive.names())
            report.summary["format"] = format_.display_name
            chosen = import_options(options, limits)
            target = frames_and_labels(archive, format_, frames_path, labels_path, chosen)
            target = with_labels(*find_new_labels(archive, format_, target, chosen, report))
            sink = CountingSink()
            read_selected(format_, archive, target, chosen, sink, report, progress)
            archive.verify()
            report.summary["annotations"] = sink.close()
            if frames_path is None and bool((target.frames.widths == UNKNOWN_SIDE).all()):
                _forget_sizes(report)
        except ImportProblems as problems:
            if problems.report is not report:
                for problem in problems.report.problems():
                    report.add(problem)
        if with_columns and archive is not None:
            with suppress(ImportProblems):  # a member that cannot be read has been told
                columns = find_columns(archive, report.problems())
    return Checked(report, columns)


def _forget_sizes(report: Report) -> None:
    """Nothing told how large any image is, so nothing can be said of masks that have another size."""
    for code in ("mask.resized", "mask.aspect"):
        report.n_warnings -= report.counts.pop(code, 0)
        report.warnings = [problem for problem in report.warnings if problem.code != code]
    for count in report.tables.values():
        count.changed = 0


def open_paths(paths: Sequence[Path], sources: Sequence[FileSource], limits: Limits) -> Archive:
    """The archive that some files are together."""
    sizes = [source.size for source in sources]
    places = zip(paths, accumulate(sizes, initial=0), sizes, strict=False)
    files = [SentFile(path.name, offset, size) for path, offset, size in places]
    return open_files(JoinedSource(sources), files, limits.archive, FileRules(looks_into, knows, _scratch))


def _scratch(needed_bytes: int) -> IO[bytes]:
    return tempfile.TemporaryFile()


def frames_and_labels(
    archive: Archive,
    format_: Format,
    frames_path: Path | None,
    labels_path: Path | None,
    options: ImportOptions,
    unknown_side: int = UNKNOWN_SIDE,
) -> Target:
    """What the archive is read against: what was given, else what it says of itself.

    Args:
        unknown_side: width and height of frames of which nothing tells the size.
    """
    assert format_.survey is not None
    renaming = parse_renaming(options.map)
    found = format_.survey(archive, options) if frames_path is None or labels_path is None else None
    if frames_path is not None:
        frames = read_frames(frames_path, unknown_side)
    else:
        assert found is not None
        widths, heights = (np.where(sides > 0, sides, unknown_side) for sides in (found.widths, found.heights))
        frames = FrameTable(found.images, widths, heights, np.zeros(len(found.images), dtype=np.bool_)).narrow()
    if labels_path is not None:
        labels = read_labels(labels_path)
    else:
        assert found is not None
        names = list(dict.fromkeys([*found.labels, *renaming.labels.values()]))
        labels = labels_of(names, found.attributes)
    return Target(frames, labels, Texts.same("", len(frames)), "the archive itself" if frames_path is None else "")


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    """A text. Raises InvalidInput where it cannot be read as UTF-8."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield file
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read as UTF-8 text: {error}") from error


def read_frames(path: Path, unknown_side: int = UNKNOWN_SIDE) -> FrameTable:
    """Frames from a folder of pictures, or from a text file with `name [width height]` a line.

    Raises:
        InvalidInput: a picture that cannot be measured, a line with an impossible size, a name that is there twice.
    """
    names, ends, sides = bytearray(), array("q", [0]), array("i")  # a list may have millions of lines
    for place, name, size in _listed(path, unknown_side):
        try:
            names += name.encode("utf-8")
        except UnicodeEncodeError:
            raise InvalidInput(f"{place!a}: its name is not UTF-8; rename it") from None
        ends.append(len(names))
        sides.extend(size)
    column = Ragged(np.frombuffer(names, dtype=np.uint8), np.array(ends, dtype=np.int64))
    if not TextLookup(column).is_unique:
        seen: set[str] = set()
        for place, name, _ in _listed(path, unknown_side):
            if name in seen:
                raise InvalidInput(f'{place}: "{shorten(name)}" is there twice')
            seen.add(name)
    widths, heights = np.array(sides, dtype=np.int32).reshape(-1, 2).T
    return FrameTable(column, widths, heights, np.zeros(len(column), dtype=np.bool_)).narrow()


def _listed(path: Path, unknown_side: int) -> Iterator[tuple[str, str, tuple[int, int]]]:
    """(place for messages, name, width and height) of each picture in a folder, or line of a text."""
    return _pictures_in(path) if path.is_dir() else _lines_of(path, unknown_side)


def _pictures_in(folder: Path) -> Iterator[tuple[str, str, tuple[int, int]]]:
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if file.suffix.lower() in PICTURE_EXTENSIONS and file.is_file() and not is_clutter(name):
            with FileSource(file) as source:
                yield str(file), name, size_of_picture(str(file), source.read_at, source.size)


def size_of_picture(path: str, read_at: ReadAt, n_bytes: int) -> tuple[int, int]:
    """Width and height.

    Raises:
        InvalidInput: it is no picture, or its header is damaged; told with its path.
    """
    try:
        size = measure_picture(read_at, n_bytes)
    except (BadPicture, PictureTooBig) as error:
        raise InvalidInput(f"{path}: {error.detail}", code=error.code) from error
    return size.width, size.height


def _lines_of(path: Path, unknown_side: int) -> Iterator[tuple[str, str, tuple[int, int]]]:
    with _opened(path) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            words = line.strip().rsplit(None, 2)
            if len(words) < 3 or not all(word.isascii() and word.isdecimal() for word in words[1:]):
                yield f"{path}:{number}", line.strip(), (unknown_side, unknown_side)
                continue
            width, height = (int(word) if len(word) <= len(str(MAX_SIDE)) else 0 for word in words[1:])
            if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
                size = shorten(f"{words[1]} x {words[2]}")
                raise InvalidInput(
                    f"{path}:{number}: no picture measures {size}; each side has 1 to {MAX_SIDE:,} pixels"
                )
            yield f"{path}:{number}", words[0], (width, height)


def read_labels(path: Path) -> LabelCatalog:
    """Labels from CVAT's label JSON (the list that tasks are made with, or an answer that holds it), or a name a line.

    Raises:
        InvalidInput: JSON that is cut or holds no labels, and what the service would refuse in a task's labels.
    """
    with _opened(path) as file:
        text = file.read()
    if text.lstrip()[:1] not in ("[", "{"):
        return labels_of(list(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip())))
    from pydantic import TypeAdapter, ValidationError  # 0.4 s with the edge's own rules, which few checks need

    from app.api.errors import describe_validation
    from app.api.schemas.labels import Labels

    try:
        drafts = TypeAdapter(Labels).validate_python(_entries_of(json.loads(text), path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise InvalidInput(f"{path} is not JSON: {error}") from error
    except ValidationError as error:
        raise InvalidInput(f"{path}: {describe_validation(error.errors())[0]}") from error
    labels: list[Label] = []
    for number, draft in enumerate((entry.draft(with_id=False) for entry in drafts), 1):
        if any(label.name == draft.name for label in labels):
            raise InvalidInput(f'{path}: the label name "{draft.name}" is there twice')
        specs = tuple(
            AttributeSpec(
                100 * number + index, spec.name, spec.mutable, spec.input_type, spec.default_value, spec.values
            )
            for index, spec in enumerate(draft.attributes or ())
        )
        labels.append(Label(number, draft.name or "", "#000000", draft.type or "any", specs))
    return LabelCatalog(tuple(labels))


def _entries_of(told: Any, path: Path) -> Any:
    """The list of labels in a JSON: itself, or that of a page of labels."""
    if isinstance(told, dict) and told.get("next"):
        raise InvalidInput(f"{path} holds one page of the labels; ask for all of them (page_size={told.get('count')})")
    found = told if isinstance(told, list) else next(filter(None, map(told.get, ("results", "labels"))), None)
    if not isinstance(found, list):
        raise InvalidInput(
            f'{path} holds no list of labels; write [{{"name": "cat"}}], as tasks are made with, or a name a line'
        )
    return [{"name": entry} if isinstance(entry, str) else entry for entry in found]


def labels_of(names: list[str], more: Mapping[str, Sequence[AttributeSpec]] = MappingProxyType({})) -> LabelCatalog:
    """Labels that declare every attribute Open Images knows, so that nothing is reported as hidden.

    Args:
        more: further attributes, by label name.
    """
    checkboxes = ("occluded", "truncated", "is_group_of", "is_depiction", "is_inside")
    texts = ("score", "source", "box_id", "predicted_iou")
    # Without a default, so that what nobody said of a shape stays unsaid.
    usual = [AttributeSpec(0, attribute, False, "checkbox", "", ("",)) for attribute in checkboxes]
    usual += [AttributeSpec(0, attribute, False, "text", "", ("",)) for attribute in texts]
    labels: list[Label] = []
    last_id = len(names)
    for number, name in enumerate(names, 1):
        said = {spec.name: spec for spec in more.get(name, ())}
        specs = said | {spec.name: replace(spec, mutable=said.get(spec.name, spec).mutable) for spec in usual}
        own = tuple(replace(spec, id=last_id + index) for index, spec in enumerate(specs.values(), 1))
        last_id += len(own)
        labels.append(Label(number, name, "#000000", "any", own))
    return LabelCatalog(tuple(labels))
