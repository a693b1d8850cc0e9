"""Checking an archive without a service: the same reader, the same report, nothing stored.

The target is what the task would be: pictures from a folder or a list, labels from a file. What is not given is taken
from the archive itself, so that even a lone zip can be checked for everything it says.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import IO, Any

from app.annotations import AttributeSpec, FrameTable, Label, LabelCatalog
from app.archive import Archive, FileRules, FileSource, JoinedSource, SentFile, open_files
from app.background import limits_of
from app.columns import Texts
from app.errors import ImportProblems, InvalidInput, Problem, Report
from app.findings import find_columns
from app.formats import (
    Format,
    ImportOptions,
    Progress,
    Survey,
    Target,
    knows,
    looks_into,
    parse_renaming,
    read_selected,
)
from app.images import measure_picture
from app.operations import (
    PICTURE_EXTENSIONS,
    CountingSink,
    Limits,
    choose_format,
    find_new_labels,
    import_options,
    with_labels,
)
from app.settings import Settings

# A size for frames of which nothing tells one: coordinates are relative, so any will do for a check.
UNKNOWN_SIDE = 1000


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
    found = format_.survey(archive) if frames_path is None or labels_path is None else Survey()
    if frames_path is not None:
        frames = read_frames(frames_path, unknown_side)
    else:
        sizes = [found.sizes.get(name, (unknown_side, unknown_side)) for name in found.images]
        frames = FrameTable.build(list(found.images), [w for w, _ in sizes], [h for _, h in sizes])
    labels = (
        read_labels(labels_path)
        if labels_path is not None
        else labels_of(list(dict.fromkeys([*found.labels, *renaming.labels.values()])))
    )
    return Target(frames, labels, Texts.same("", len(frames)), "the archive itself" if frames_path is None else "")


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read as UTF-8 text: {error}") from error


def read_frames(path: Path, unknown_side: int = UNKNOWN_SIDE) -> FrameTable:
    """Frames from a folder of pictures, or from a text file with `name [width height]` a line."""
    names, widths, heights = [], [], []
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.suffix.lower() in PICTURE_EXTENSIONS and file.is_file():
                with FileSource(file) as source:
                    size = measure_picture(source.read_at, source.size)
                names.append(file.relative_to(path).as_posix())
                widths.append(size.width)
                heights.append(size.height)
        return FrameTable.build(names, widths, heights)
    for line in _read_text(path).splitlines():
        if not line.strip():
            continue
        words = line.rsplit(None, 2)
        if len(words) == 3 and words[1].isdigit() and words[2].isdigit():
            names.append(words[0])
            widths.append(int(words[1]))
            heights.append(int(words[2]))
        else:
            names.append(line.strip())
            widths.append(unknown_side)
            heights.append(unknown_side)
    return FrameTable.build(names, widths, heights)


def read_labels(path: Path) -> LabelCatalog:
    """Labels from CVAT's label JSON (a list of objects with a name), or a name a line."""
    text = _read_text(path)
    if not text.lstrip().startswith("["):
        return labels_of([line.strip() for line in text.splitlines() if line.strip()])
    try:
        entries = json.loads(text)
        labels = []
        for number, entry in enumerate(entries, 1):
            specs = tuple(
                AttributeSpec(
                    100 * number + index,
                    spec["name"],
                    bool(spec.get("mutable", False)),
                    spec.get("input_type", "text"),
                    str(spec.get("default_value", (spec.get("values") or [""])[0])),
                    tuple(str(value) for value in spec.get("values", ())),
                )
                for index, spec in enumerate(entry.get("attributes", ()))
            )
            labels.append(Label(number, entry["name"], "#000000", entry.get("type", "any"), specs))
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(f"{path.name} is not CVAT's label JSON: {type(error).__name__} {error}") from error
    return LabelCatalog(tuple(labels))


def labels_of(names: list[str]) -> LabelCatalog:
    """Labels that declare every attribute Open Images knows, so that nothing is reported as hidden."""
    checkboxes = ("occluded", "truncated", "is_group_of", "is_depiction", "is_inside")
    texts = ("score", "source", "box_id", "predicted_iou")
    labels = []
    for number, name in enumerate(names, 1):
        specs = [
            AttributeSpec(100 * number + index, attribute, False, "checkbox", "false", ("false",))
            for index, attribute in enumerate(checkboxes)
        ]
        specs += [
            AttributeSpec(100 * number + 50 + index, attribute, False, "text", "", ("",))
            for index, attribute in enumerate(texts)
        ]
        labels.append(Label(number, name, "#000000", "any", tuple(specs)))
    return LabelCatalog(tuple(labels))
