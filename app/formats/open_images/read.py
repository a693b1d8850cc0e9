"""The walk through an archive, in the order that lets everything stream.

    class files, hierarchy, sizes → image lists → mask and relationship tables (rows only) → box tables
    → relationships → mask PNGs → image labels → points → narratives → images without a list → everything else, kept

Mask rows come before boxes so that a box knows at once whether a mask belongs to it; relationships do likewise. Batches
go to the sink as they are read; what is held for a whole table is a few compact columns.

Source: Open Images reference 3; 5 (what is kept).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from app.archive import Archive
from app.errors import ImportProblems, Problem, Report, shorten
from app.formats.base import NAMES_TRIED, ImportOptions, Progress, Sink, Target
from app.formats.open_images.extras import Extras, KeptFile
from app.formats.open_images.hierarchy import MAX_BYTES, read_hierarchy, unknown_labels
from app.formats.open_images.labels import recorded_names
from app.formats.open_images.layout import Layout, has_rows, is_packed_table, lay_out, nearest_name
from app.formats.open_images.links import MaskLinks
from app.formats.open_images.mask_files import MaskFiles
from app.formats.open_images.mask_proofs import prove_ahead
from app.formats.open_images.mask_work import MaskJob, MasksDone, mask_crew
from app.formats.open_images.read_boxes import Waiting, read_boxes
from app.formats.open_images.read_images import ImageListReader
from app.formats.open_images.read_mask_rows import read_mask_rows
from app.formats.open_images.read_masks import MaskReader, Taken
from app.formats.open_images.read_narratives import read_narratives
from app.formats.open_images.read_points import read_points
from app.formats.open_images.read_relationships import read_relationship_rows, write_relationships
from app.formats.open_images.read_tags import read_tags
from app.formats.open_images.reading import WARNINGS_LISTED, Reading
from app.formats.open_images.sizes import read_sizes
from app.formats.open_images.unnamed import unnamed_tables
from app.heap import trim_heap
from app.helpers import Crew

KEPT_LISTED = 20
_KINDS = {
    "images": "image list",
    "boxes": "boxes",
    "tags": "image labels",
    "machine": "machine labels",
    "masks": "masks",
    "points": "points",
    "relationships": "relationships",
    "narratives": "narratives, kept as they are",
    "classes": "class names",
    "hierarchy": "class hierarchy",
    "sizes": "image sizes",
    "side": "side file",
}


def read(
    archive: Archive, target: Target, options: ImportOptions, sink: Sink, report: Report, progress: Progress
) -> None:
    """Read an archive into the sink; every problem goes to the report.

    Raises:
        ImportProblems: nothing can be read (no table, several data sets, a damaged member, too many rows).
    """
    layout = lay_out(archive.names(), report)
    report.summary["files"] = _files_summary(layout, options)
    report.raise_if_errors()
    unnamed = unnamed_tables(archive, layout.kept)
    _check_named(layout, unnamed, report)
    set_aside(layout, options)
    reading = Reading(archive, layout, target, options, sink, report, progress)
    reading.expect(_bytes_to_read(archive, layout))
    workers: Crew[Taken, MaskJob, MasksDone] = mask_crew(
        len(layout.likely_masks()),
        options.mask_helpers,
        options.conv_mask_to_poly,
        is_sure=target.chosen is None,  # a selection may leave few, and is read twice
    )
    with workers as crew, prove_ahead(reading) as proofs:
        read_classes(reading)
        report.summary["files"] |= dict.fromkeys(reading.classes.wider, "class names, kept as they are")
        reading.match_labels()
        hierarchy = _read_hierarchy(reading)
        images = ImageListReader(reading)
        images.read()
        sized = _read_sizes(reading)
        side = read_side_file(reading)
        files = MaskFiles([*layout.masks, *layout.pictures], layout.kept)
        mask_rows = read_mask_rows(reading, files)
        # Groups of links begin above those that the side file brings.
        _check_groups(reading, len(mask_rows.frames))
        first_group = target.first_group + reading.side.max_group
        links = MaskLinks(mask_rows.frames, mask_rows.label_codes, mask_rows.boxes, mask_rows.linkable, first_group)
        if not reading.consistency.is_on:
            mask_rows.drop_boxes()
        relationships = read_relationship_rows(reading)
        trim_heap()
        masks = MaskReader(reading, mask_rows, files, crew, proofs)
        reading.meanwhile = masks.go_on
        read_boxes(reading, Waiting(links, relationships.ends))
        write_relationships(reading, relationships)
        groups, numbers = links.mask_groups(), links.numbers
        del links
        read_tags(reading)  # in front of the masks, which helpers prove or trace meanwhile
        reading.meanwhile = None
        masks.read(groups, numbers)
    read_points(reading)
    read_narratives(reading)
    for batch in reading.side.finish(side, report, reading.is_listed):
        sink.write(batch)
    images.finish()
    class_files = layout.class_files()
    reading.consistency.tell(
        reading.labels.names, reading.classes.display_names, class_files[0].path if class_files else "", hierarchy
    )
    reading.tell_unused_names()
    _tell_unsized(reading, sized)
    reading.repairs.summarise()
    _check_something_matched(reading)
    kept_files, kept_masks = _keep_files(reading, files, unnamed)
    archive.verify(lambda done: progress(1.0))
    extras = Extras(
        tables=tuple(reading.tables),
        mids=reading.labels.recorded(),
        classes=tuple(_all_classes(reading).items()),
        hierarchy=hierarchy,
        files=tuple(kept_files),
        masks=tuple(kept_masks),
        sided=tuple(reading.sided.values()),
        mapped=reading.labels.mapped,
        also=reading.labels.also(),
        linked={number: ends for (_, ends), number in reading.linked.items()},
        has_side=bool(side),
        plain=reading.plain_tables(),
        attributes={spec.id: spec.name for label in target.labels.by_id.values() for spec in label.attributes},
        window=(target.frames.start, target.frames.start + len(target.frames)) if target.is_part else None,
    )
    sink.extras(extras.to_dict())
    progress(1.0)


# --- before the tables ---


def _check_named(layout: Layout, unnamed: Mapping[str, str], report: Report) -> None:
    """Class names and a table that is called otherwise must not empty a task.

    Raises:
        ImportProblems: there is nothing else.
    """
    if unnamed and not has_rows(layout):
        path, name = next(iter(unnamed.items()))
        message = (
            f'no Open Images table in the zip; "{shorten(path)}" has the columns of one. Files are known by their '
            f'names: call it "{shorten(name)}"'
        )
        report.error("layout.not_found", message, file=path, suggestion=name)
        report.raise_if_errors()


def _check_groups(reading: Reading, n_masks: int) -> None:
    """That each mask of one picture can be given a group of its own.

    Raises:
        ImportProblems: numbers are too few.
    """
    free = reading.target.group_room - reading.side.max_group
    if n_masks > free:
        message = (
            f"{n_masks:,} masks may need a group each, and {max(free, 0):,} numbers are free beside the groups in use; "
            "give those of the task lower numbers"
        )
        raise ImportProblems.single("group.no_room", message)


def _files_summary(layout: Layout, options: ImportOptions) -> dict[str, str]:
    """Path → what the entry is taken for; pictures and masks are counted, not listed."""
    summary = {table.path: _KINDS[table.kind] for table in layout.tables}
    if options.machine_labels == "keep":
        summary |= {table.path: "kept as it is" for table in layout.of("machine")}
    summary |= dict.fromkeys(layout.kept, "kept as it is")
    if layout.masks:
        summary["masks/"] = f"{len(layout.masks)} mask files"
    if layout.pictures:
        summary["images/"] = f"{len(layout.pictures)} pictures, not read"
    return summary


def set_aside(layout: Layout, options: ImportOptions) -> None:
    """Machine labels are a file like any other, unless they are asked for."""
    if options.machine_labels == "keep":
        for table in layout.of("machine"):
            layout.tables.remove(table)
            layout.kept.append(table.path)
        layout.kept.sort()


def _bytes_to_read(archive: Archive, layout: Layout) -> int:
    """What progress is measured against; some tables are read twice."""
    paths = [table.path for table in [*layout.tables, *layout.of("masks", "relationships", "narratives")]]
    return int(archive.members(archive.numbers([*paths, *layout.masks, *layout.kept])).sizes.sum())


def read_classes(reading: Reading) -> None:
    """All class files. Those with more than names in them are files that are kept, too: no class file of an export has
    a place for counts of points or mentions."""
    options = reading.options
    for file in reading.layout.class_files():
        reading.classes.add_table(
            reading.blocks(file.path),
            file.path,
            reading.report,
            options.max_field_bytes,
            options.max_columns,
            reading.repairs,
        )


def _all_classes(reading: Reading) -> dict[str, str]:
    """Display names by LabelName: of this archive, of names it uses without declaring them, and of labels that came
    with an earlier import."""
    names = dict(reading.classes.display_names)
    for name, label in reading.labels.undeclared.items():
        names.setdefault(name, label)
    known = recorded_names(reading.target.earlier).keys()
    for document in reading.target.earlier.values():
        for mid, name in document.get("classes", ()):
            if mid in known:
                names.setdefault(mid, name)
    return names


def _read_hierarchy(reading: Reading) -> str | None:
    """The text of the hierarchy, for the extras."""
    for file in reading.layout.of("hierarchy"):
        entry = reading.archive.entry(file.path)
        if entry.size > MAX_BYTES:
            message = f"the hierarchy has {entry.size:,} bytes, over the limit of {MAX_BYTES:,}"
            reading.report.error("hierarchy.too_big", message, file=file.path)
            continue
        found = read_hierarchy(
            reading.archive.read(entry),
            file.path,
            reading.report,
            max_depth=reading.options.max_hierarchy_depth,
            max_nodes=reading.options.max_hierarchy_nodes,
        )
        if found is None:
            continue
        text, names = found
        classes = reading.classes.display_names
        unknown = unknown_labels(names, {label.name for label in reading.target.labels.labels})
        unknown = unknown_labels(unknown, classes)
        unknown = unknown_labels(unknown, set(classes.values())) if unknown else []
        if unknown:
            listed = [
                Problem(
                    "hierarchy.unknown_label",
                    f'the hierarchy names "{shorten(name)}", which is in no class file and no label of the task',
                    "warning",
                    file.path,
                    value=shorten(name),
                )
                for name in unknown[:WARNINGS_LISTED]
            ]
            reading.report.add_many(listed, len(unknown))
        return text
    return None


def _read_sizes(reading: Reading) -> npt.NDArray[np.bool_]:
    """Sizes in the archive are compared with those of the frames; the last line of an image counts.

    Returns:
        (number of frames,) bool: frames that the archive tells a size of.
    """
    frames = reading.target.frames
    sized = np.zeros(len(frames), dtype=np.bool_)
    for file in reading.layout.of("sizes"):
        heights, widths = frames.heights.astype(np.int32), frames.widths.astype(np.int32)
        rows = np.zeros(len(frames), dtype=np.int64)
        for lines in read_sizes(reading.blocks(file.path), file.path, reading.report):
            matches = reading.index.match(lines.ids)
            found = np.flatnonzero(matches.frames >= 0)
            at = matches.frames[found] - frames.start
            heights[at], widths[at], rows[at] = lines.heights[found], lines.widths[found], lines.rows[found]
        sized |= rows > 0
        differ = np.flatnonzero((heights != frames.heights) | (widths != frames.widths))
        if len(differ):
            listed = [
                Problem(
                    "meta.size_differs",
                    f'"{shorten(frames.name(at + frames.start))}" is {widths[at]} x {heights[at]} here, the frame has '
                    f"{frames.widths[at]} x {frames.heights[at]} (width x height); the frame's size is used",
                    "warning",
                    file.path,
                    int(rows[at]),
                )
                for at in sorted(differ.tolist(), key=lambda at: int(rows[at]))[:WARNINGS_LISTED]
            ]
            reading.report.add_many(listed, len(differ))
    return sized


def _tell_unsized(reading: Reading, sized: npt.NDArray[np.bool_]) -> None:
    """Other tools trust an images.meta alone: without its size, the boxes and masks of an image are lost to them."""
    for file in reading.layout.of("sizes"):
        missing = np.flatnonzero(reading.needs_size & ~sized)
        if len(missing):
            name = reading.target.frames.name(int(missing[0]) + reading.target.frames.start)
            message = (
                f"{_counted(len(missing), 'image')} with boxes or masks, such as {shorten(name)}, without a size here: "
                "other tools drop those. The sizes of the frames are used"
            )
            reading.repairs.tell("meta.incomplete", file.path, len(missing), message, value=name)


def _counted(n: int, word: str) -> str:
    return f"{n:,} {word}" if n == 1 else f"{n:,} {word}s"


def read_side_file(reading: Reading) -> str:
    """The side file's path, "" where there is none."""
    for file in reading.layout.of("side"):
        entry = reading.archive.entry(file.path)
        reading.side.load(reading.blocks(file.path), entry.size, file.path, reading.report)
        return file.path
    return ""


# --- after the tables ---


def _check_something_matched(reading: Reading) -> None:
    """An archive of which nothing fits the task is a failure, also where unmatched rows may be passed over."""
    report = reading.report
    seen = sum(count.seen for path, count in report.tables.items() if path in {table.path for table in reading.tables})
    if report.n_errors or not seen or reading.n_kept_rows:
        return
    n_ids = report.counts.get("image.unmatched", 0)
    if not n_ids and report.counts.get("label.passed_over"):
        return
    told = [problem for problem in report.warnings if problem.code == "image.unmatched"][:3]
    ids = ", ".join(f'"{problem.value}"' for problem in told)
    about = (f"Its image id is {ids}. " if n_ids == 1 else f"Its {n_ids:,} image ids are like {ids}. ") if told else ""
    labels = ", ".join(f'"{shorten(label.name)}"' for label in reading.target.labels.labels[:3]) or "none"
    report.error(
        "image.unmatched",
        f"nothing of this archive fits the task: 0 of {seen:,} rows kept. {about}The "
        f"task's frames are called {reading.example or 'nothing'}, its labels {labels}",
        suggestion=next((problem.suggestion for problem in told), None),
    )


def _keep_files(
    reading: Reading, files: MaskFiles, unnamed: Mapping[str, str]
) -> tuple[list[KeptFile], list[KeptFile]]:
    """Keep what is no table, picture or mask of a row: files, and masks that no row names."""
    in_masks = set(reading.layout.masks)
    unreferenced = [
        path for path, used in zip(files.paths, files.used.tolist(), strict=True) if not used and path in in_masks
    ]
    narratives = [reading.archive.entry(file.path) for file in reading.layout.of("narratives")]
    classes = [reading.archive.entry(path) for path in reading.classes.wider]
    others = _keep_others(reading, reading.layout.kept, unnamed)
    return (
        [*map(reading.keep_entry, [*narratives, *classes]), *others],
        _keep(reading, "mask.unreferenced", "no row names this mask; kept and written back", unreferenced),
    )


def _keep_others(reading: Reading, paths: list[str], unnamed: Mapping[str, str]) -> list[KeptFile]:
    """Files that are no tables; those whose columns or names look like a table's come first."""
    alike = {path: name for path in paths[:NAMES_TRIED] if (name := nearest_name(path)) is not None}
    near = {**unnamed, **{path: name for path, name in alike.items() if path not in unnamed}}
    packed = [path for path in paths if is_packed_table(path)]
    listed = []
    for path in list(dict.fromkeys([*near, *packed, *paths]))[:KEPT_LISTED]:
        hint = f'; did you mean "{near[path]}"?' if path in near else ""
        if path in unnamed:
            hint = f'. It has the columns of a table: called "{near[path]}", its rows are read'
        elif is_packed_table(path):
            hint = "; a table that is packed by itself is not looked into: unpack it, and send it so"
        message = f"not interpreted; kept and written back{hint}"
        listed.append(Problem("file.kept", message, "warning", path, suggestion=near.get(path)))
    reading.report.add_many(listed, len(paths))
    return [reading.keep_entry(reading.archive.entry(path)) for path in paths]


def _keep(reading: Reading, code: str, message: str, paths: list[str]) -> list[KeptFile]:
    listed = [Problem(code, message, "warning", path) for path in paths[:KEPT_LISTED]]
    reading.report.add_many(listed, len(paths))
    return [reading.keep_entry(reading.archive.entry(path)) for path in paths]
