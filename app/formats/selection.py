"""Choosing part of a data set: by class, subset, image, attribute, confidence, kind of label, or number of images.

    options (texts) → Selection (checked) → Selector (of one target): one pass to see, then which frames and rows stay

A row *matches* if its label is among the classes and its attributes are as asked; without such wishes every row does.
An image is chosen if it lies in the subsets, is in the list, and has a matching row. Of a chosen image all rows stay,
or with `only_matching` those that match. Rows of other kinds of label, or of another confidence, never stay.

The same for every format, both ways: it works on annotations, not on files.

Source: Open Images reference 8.2 (lists of images), 8.3 (options).
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from app.annotations import Annotations, FrameIndex, LabelCatalog, MovingShapes, Shapes, ShapeType, Tags, Tracks
from app.archive import Archive
from app.columns import Ragged, Texts, among, distinct
from app.errors import AppError, InvalidInput, Report, shorten
from app.formats.base import (
    ClassWords,
    ExportOptions,
    Format,
    ImportOptions,
    Progress,
    SelectionOptions,
    Sink,
    Source,
    Target,
)

LabelType = Literal["detections", "classifications", "segmentations", "points", "relationships", "others"]
LABEL_TYPES: tuple[LabelType, ...] = (
    "detections",
    "classifications",
    "segmentations",
    "points",
    "relationships",
    "others",
)
OFFERED_TYPES = LABEL_TYPES[:5]
SPLITS = ("train", "validation", "test", "challenge2018")
"""Words in front of an image id in the downloader's lists; any subset of the data set is one too."""
MAX_LISTED = 1_000_000
FIRST_PASS = 0.45
"""Share of the progress that the first of two passes takes."""
UNSET = frozenset({"", "false", "0", "0.0", "-1", "no"})
"""Values with which an attribute that is asked for by its name alone counts as not set."""
_DRAWN = (ShapeType.POLYGON, ShapeType.MASK, ShapeType.ELLIPSE)

Mask = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int32]
Reals = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Selection:
    """What is wanted; an empty field wishes nothing.

    Attributes:
        classes: MIDs or names.
        descendants: classes mean all classes below them too.
        only_matching: of a chosen image only matching rows stay.
        image_ids: ids, with or without extension, with or without `<subset>/` in front.
        attributes: (name, value); value None: set to anything but false, 0 or nothing.
        max_images: the first so many; with a seed, any so many (the same ones for the same seed).
    """

    classes: tuple[str, ...] = ()
    descendants: bool = False
    only_matching: bool = False
    subsets: tuple[str, ...] = ()
    image_ids: tuple[str, ...] = ()
    attributes: tuple[tuple[str, str | None], ...] = ()
    min_confidence: float | None = None
    max_confidence: float | None = None
    annotated_only: bool = False
    label_types: frozenset[LabelType] = frozenset()
    max_images: int | None = None
    seed: int | None = None

    @property
    def is_empty(self) -> bool:
        """Whether everything is wanted."""
        return replace(self, descendants=False, only_matching=False, seed=None) == Selection()

    @property
    def by_confidence(self) -> bool:
        return self.min_confidence is not None or self.max_confidence is not None

    @property
    def by_rows(self) -> bool:
        """Whether the rows of an image decide if it is chosen."""
        return bool(self.classes or self.attributes or self.annotated_only)


def parse_selection(options: SelectionOptions) -> Selection:
    """The selection that options ask for.

    Raises:
        InvalidInput: a value that cannot be understood; `place` is the option.
    """
    label_types = split_list(options.label_types)
    for name in label_types:
        if name not in OFFERED_TYPES:
            near = difflib.get_close_matches(name, OFFERED_TYPES, 1, cutoff=0.4)
            hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(OFFERED_TYPES)}"
            raise InvalidInput(f'no label type "{shorten(name)}"{hint}', place="label_types", code="option.value")
    low, high = _share("min_confidence", options.min_confidence), _share("max_confidence", options.max_confidence)
    if low is not None and high is not None and low > high:
        raise InvalidInput("is below min_confidence", place="max_confidence", code="option.value")
    return Selection(
        classes=split_list(options.classes),
        descendants=options.descendants,
        only_matching=options.only_matching,
        subsets=split_list(options.subsets),
        image_ids=split_list(options.image_ids),
        attributes=tuple(_wish(text) for text in split_list(options.attributes)),
        min_confidence=low,
        max_confidence=high,
        annotated_only=options.annotated_only,
        label_types=frozenset(name for name in OFFERED_TYPES if name in label_types),
        max_images=_whole("max_images", options.max_images),
        seed=_whole("seed", options.seed),
    )


def split_list(text: str) -> tuple[str, ...]:
    """The entries of a list: separated by commas or line breaks, quoted where they hold one; each once."""
    rows = csv.reader(io.StringIO(text), skipinitialspace=True)
    try:
        entries = [cell.strip() for row in rows for cell in row]
    except csv.Error as error:
        raise InvalidInput(f"cannot be read as a list: {error}", code="option.value") from error
    found = tuple(dict.fromkeys(entry for entry in entries if entry))
    if len(found) > MAX_LISTED:
        raise InvalidInput(f"a list of more than {MAX_LISTED:,} entries", code="option.value")
    return found


def _wish(text: str) -> tuple[str, str | None]:
    name, equals, value = text.partition("=")
    return name.strip(), value.strip() if equals else None


def _share(place: str, text: str) -> float | None:
    if not text.strip():
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1:
        raise InvalidInput(f'a number from 0 to 1 is needed; got "{shorten(text)}"', place=place, code="option.value")
    return number


def _whole(place: str, text: str) -> int | None:
    stripped = text.strip()
    if not stripped:
        return None
    if not stripped.isascii() or not stripped.isdigit() or len(stripped) > 18:
        raise InvalidInput(f'a whole number is needed; got "{shorten(text)}"', place=place, code="option.value")
    return int(stripped)


class Selector:
    """A selection at work on one target.

    Show it everything with `see`, then `settle`; from then on it tells which frames and rows stay.

    Attributes:
        shown: (number of frames,) bool, frames that stay; of the wishes that no row decides until `settle`.
    """

    def __init__(self, selection: Selection, target: Target, words: ClassWords, report: Report) -> None:
        self.selection = selection
        self._target, self._report = target, report
        self._start, n = target.frames.start, len(target.frames)
        self._labels = _label_ids(selection, target.labels, words, report)
        self._attributes = _AttributeWishes(selection, target.labels, report)
        self.shown: Mask = ~target.frames.deleted
        self._n_frames = int(self.shown.sum())
        self._before = dict.fromkeys(LABEL_TYPES, 0)
        self._left = {name: np.zeros(n, dtype=np.int32) for name in LABEL_TYPES}
        self._matches = np.zeros(n, dtype=np.bool_)
        self._classes = np.array(sorted(self._labels or ()), dtype=np.int64)
        self._seen_classes = np.zeros((n, (len(self._classes) + 63) // 64), dtype=np.uint64)

    # --- frames ---

    def choose_images(self, index: FrameIndex, subsets: Texts) -> None:
        """Leave out frames of other subsets, and those that are not in the list.

        Args:
            subsets: (number of frames,) of each frame.
        """
        selection = self.selection
        if selection.subsets:
            wanted = np.array([value in selection.subsets for value in subsets.values], dtype=np.bool_)
            self.shown &= wanted[subsets.codes] if len(subsets) else False
            for name in selection.subsets:
                if name not in subsets.values:
                    known = ", ".join(shorten(value) for value in subsets.values[:5])
                    near = nearest(name, subsets.values, self._report)
                    message = f'no image is in the subset "{shorten(name)}"{_hint(near) or f"; there are {known}"}'
                    self._report.warn("selection.unknown", message, value=shorten(name), suggestion=near)
        if selection.image_ids:
            self.shown &= self._listed(index, subsets)

    def _listed(self, index: FrameIndex, subsets: Texts) -> Mask:
        """(N,) bool: the frames that the list names."""
        ids = list(self.selection.image_ids)
        matches = index.match(Ragged.from_bytes([text.encode() for text in ids]))
        found, several = matches.frames.astype(np.int64), matches.ambiguous
        rest = np.flatnonzero(found < 0).tolist()
        if rest:
            splits = [ids[place].partition("/") for place in rest]
            told = Texts.from_list(split if slash else "" for split, slash, _ in splits)
            stems = Ragged.from_bytes([ids[place].removesuffix(".jpg").encode() for place in rest])
            matches = index.match(stems, told)
            again = matches.frames.astype(np.int64)
            several[rest] |= matches.ambiguous
            rows = np.maximum(again - self._start, 0)
            in_split = (
                np.array(
                    [
                        not split or subsets.row(row) == split or split not in (*SPLITS, *subsets.values)
                        for split, row in zip(told.to_list(), rows.tolist(), strict=True)
                    ],
                    dtype=np.bool_,
                )
                if len(subsets)
                else np.zeros(len(rest), dtype=np.bool_)
            )
            found[rest] = np.where((again >= 0) & in_split, again, -1)
        for place in np.flatnonzero(found < 0).tolist():
            message = f'no image "{shorten(ids[place])}" (entry {place} of the list)'
            if self._report.room("warning") > 1:
                if several[place]:
                    message = f'"{shorten(ids[place])}" (entry {place} of the list) {index.several(ids[place])}'
                elif near := index.nearest(ids[place], 1):
                    message += f"; did you mean {near[0]!r}?"
            self._report.warn("selection.unknown", message, value=shorten(ids[place]))
        listed = np.zeros(len(self.shown), dtype=np.bool_)
        listed[found[found >= 0] - self._start] = True
        return listed

    # --- rows ---

    def see(self, table: Shapes | Tags, confidences: Reals | None = None) -> None:
        """Take notice of rows, each once. `confidences`: (N,) where the format knows them better than attributes."""
        kinds = kinds_of(table)
        stays, matches = self._judge(table, kinds, confidences)
        rows = table.frames.astype(np.int64) - self._start
        here = (rows >= 0) & (rows < len(self.shown))
        here[here] = ~self._target.frames.deleted[rows[here]]
        for code, name in enumerate(LABEL_TYPES):
            self._before[name] += int((here & (kinds == code)).sum())
            left = rows[here & (kinds == code) & (matches if self.selection.only_matching else stays)]
            self._left[name] += np.bincount(left, minlength=len(self.shown)).astype(np.int32)
        matching = np.flatnonzero(here & matches)
        self._matches[rows[matching]] = True
        if self.selection.max_images is not None and len(self._classes):
            places = np.searchsorted(self._classes, table.label_ids[matching])
            known = places < len(self._classes)
            known[known] = self._classes[places[known]] == table.label_ids[matching][known]
            bits = np.left_shift(np.uint64(1), (places[known] & 63).astype(np.uint64))
            np.bitwise_or.at(self._seen_classes, (rows[matching[known]], places[known] >> 6), bits)

    def settle(self, *, must_leave: bool = False) -> None:
        """Everything was seen: choose the images, and tell the counts; `must_leave`: none left is an error."""
        selection, before = self.selection, self._n_frames
        if selection.by_rows:
            self.shown &= self._matches
        if selection.max_images is not None:
            self._choose_some(selection.max_images)
        counts: dict[str, dict[str, int]] = {"images": {"before": before, "after": int(self.shown.sum())}}
        for name in LABEL_TYPES:
            if self._before[name]:
                counts[name] = {"before": self._before[name], "after": int(self._left[name][self.shown].sum())}
        self._report.summary["selection"] = counts
        if before and not counts["images"]["after"]:
            tell = self._report.error if must_leave else self._report.warn
            unknown = [told.message for told in self._report.warnings if told.code == "selection.unknown"]
            why = f": {'; '.join(unknown[:3])}" if unknown else ""
            of = f"none of {before:,} images" if before > 1 else "out the only image"
            tell("selection.empty", f"the selection leaves {of}{why}")

    def _choose_some(self, limit: int) -> None:
        """Images with all classes first, then the others; each in their order, or in that of the seed."""
        chosen = np.flatnonzero(self.shown)
        order = _shuffled(chosen, self.selection.seed) if self.selection.seed is not None else chosen
        if len(self._classes):
            counts = np.bitwise_count(self._seen_classes[order]).sum(axis=1)
            order = order[np.argsort(counts < len(self._classes), kind="stable")]
        self.shown = np.zeros(len(self.shown), dtype=np.bool_)
        self.shown[order[:limit]] = True

    def keeps(self, table: Shapes | Tags, confidences: Reals | None = None) -> Mask:
        """(N,) bool: rows of chosen images that stay."""
        stays, matches = self._judge(table, kinds_of(table), confidences)
        return self.in_shown(table.frames) & (matches if self.selection.only_matching else stays)

    def keeps_absent(self, frames: Codes, label_ids: Codes, kind: LabelType) -> Mask:
        """(N,) bool: kept rows that show nothing (labels verified to be absent, empty masks) and stay.

        Args:
            label_ids: -1 for a row that means no label of the target.
        """
        selection = self.selection
        keeps = self.in_shown(frames)
        if selection.label_types and kind not in selection.label_types:
            keeps = np.zeros(len(frames), dtype=np.bool_)
        if kind == "classifications" and selection.min_confidence:
            keeps = np.zeros(len(frames), dtype=np.bool_)
        if selection.only_matching and self._labels is not None:
            keeps &= np.isin(label_ids, self._classes)
        if selection.only_matching and selection.attributes:
            keeps = np.zeros(len(frames), dtype=np.bool_)
        return keeps

    def see_rows(self, frames: Codes, label_ids: Codes, kind: LabelType) -> None:
        """Take notice of kept rows that stand for themselves (relationships), each once."""
        rows = frames.astype(np.int64) - self._start
        here = (rows >= 0) & (rows < len(self.shown))
        here[here] = ~self._target.frames.deleted[rows[here]]
        stays, matches = self._judge_rows(label_ids, kind)
        self._before[kind] += int(here.sum())
        left = rows[here & (matches if self.selection.only_matching else stays)]
        self._left[kind] += np.bincount(left, minlength=len(self.shown)).astype(np.int32)
        self._matches[rows[here & matches]] = True

    def keeps_rows(self, frames: Codes, label_ids: Codes, kind: LabelType) -> Mask:
        """(N,) bool: kept rows that stand for themselves, and stay. `label_ids` (N, K): of what each row names."""
        stays, matches = self._judge_rows(label_ids, kind)
        return self.in_shown(frames) & (matches if self.selection.only_matching else stays)

    def _judge_rows(self, label_ids: Codes, kind: LabelType) -> tuple[Mask, Mask]:
        """A relationship matches if one of the things that it names is of a wanted class; it has no attributes."""
        selection, n = self.selection, len(label_ids)
        stays = np.full(n, not selection.label_types or kind in selection.label_types, dtype=np.bool_)
        matches = stays & (not selection.attributes)
        if self._labels is not None:
            matches = matches & np.isin(label_ids, self._classes).any(axis=1)
        return stays, matches

    def keeps_tracks(self, tracks: Tracks) -> Mask:
        """(N,) bool: tracks that begin on a frame that stays, of a class that does."""
        keeps = self.in_shown(tracks.frames)
        if self.selection.only_matching and self._labels is not None:
            keeps &= np.isin(tracks.label_ids, self._classes)
        return keeps

    def in_shown(self, frames: Codes) -> Mask:
        """(N,) bool: frames that stay."""
        rows = frames.astype(np.int64) - self._start
        inside: Mask = (rows >= 0) & (rows < len(self.shown))
        inside[inside] = self.shown[rows[inside]]
        return inside

    def _judge(self, table: Shapes | Tags, kinds: Codes, confidences: Reals | None) -> tuple[Mask, Mask]:
        """(N,) bool each: rows of the wanted kinds and confidence; and of these the ones that match."""
        selection = self.selection
        stays = np.ones(len(table), dtype=np.bool_)
        if selection.label_types:
            wanted = np.array([name in selection.label_types for name in LABEL_TYPES], dtype=np.bool_)
            stays &= wanted[kinds]
        if selection.by_confidence:
            numbers = self._attributes.scores(table)
            if confidences is not None:
                numbers = np.where(np.isnan(numbers), confidences, numbers)
            numbers = np.where(np.isnan(numbers), 1.0, numbers)
            if selection.min_confidence is not None:
                stays &= numbers >= selection.min_confidence
            if selection.max_confidence is not None:
                stays &= numbers <= selection.max_confidence
        matches = stays
        if self._labels is not None:
            matches = matches & np.isin(table.label_ids, self._classes)
        if selection.attributes:
            matches = matches & self._attributes.match(table)
        return stays, matches


def _confidences(batch: Annotations) -> tuple[Reals | None, Reals | None]:
    """Of the shapes and of the tags of a batch, which has one kind of them where it tells."""
    if batch.confidences is None:
        return None, None
    return (batch.confidences, None) if len(batch.shapes) else (None, batch.confidences)


class SeeingSink:
    """Shows a selector what a reader reads, and keeps nothing: the first of two passes over an archive."""

    def __init__(self, selector: Selector) -> None:
        self._selector = selector
        self._images: list[tuple[Codes, Texts]] = []

    def write(self, batch: Annotations) -> None:
        of_shapes, of_tags = _confidences(batch)
        self._selector.see(batch.shapes, of_shapes)
        self._selector.see(batch.tags, of_tags)
        if batch.meaning is not None and not batch.meaning.is_absent:
            self._selector.see_rows(batch.rows.frames, batch.meaning.label_ids, batch.meaning.kind)
        self._images.append((batch.images.frames, batch.images.subsets))

    def subsets(self, target: Target) -> Texts:
        """(number of frames,) the subset that the archive tells of each frame, "" for none."""
        names = {"": 0}
        subsets = np.zeros(len(target.frames), dtype=np.int32)
        for frames, told in self._images:
            codes = np.array([names.setdefault(value, len(names)) for value in told.values], dtype=np.int32)
            if len(frames):
                subsets[frames - target.frames.start] = codes[told.codes]
        return Texts(subsets, tuple(names))

    def keep(self, data: bytes | memoryview) -> tuple[int, int, int]:
        return 0, len(data), 0

    def extras(self, extras: dict[str, Any]) -> None:
        pass


class SelectingSink:
    """Passes on what a settled selector lets through: the second pass."""

    def __init__(self, sink: Sink, selector: Selector) -> None:
        self._sink, self._selector = sink, selector

    def write(self, batch: Annotations) -> None:
        selector = self._selector
        shapes, tags = batch.shapes, batch.tags
        of_shapes, of_tags = _confidences(batch)
        self._sink.write(
            Annotations(
                shapes=shapes.take(selector.keeps(shapes, of_shapes)),
                tags=tags.take(selector.keeps(tags, of_tags)),
                tracks=batch.tracks.take(selector.keeps_tracks(batch.tracks)),
                images=batch.images.take(selector.in_shown(batch.images.frames)),
                rows=batch.rows.take(rows := self._rows(batch)),
                meaning=None
                if batch.meaning is None
                else replace(batch.meaning, label_ids=batch.meaning.label_ids[rows]),
            )
        )

    def _rows(self, batch: Annotations) -> Mask:
        if batch.meaning is None:
            return self._selector.in_shown(batch.rows.frames)
        if batch.meaning.is_absent:
            label_ids = batch.meaning.label_ids[:, 0]
            return self._selector.keeps_absent(batch.rows.frames, label_ids, batch.meaning.kind)
        return self._selector.keeps_rows(batch.rows.frames, batch.meaning.label_ids, batch.meaning.kind)

    def keep(self, data: bytes | memoryview) -> tuple[int, int, int]:
        return self._sink.keep(data)

    def extras(self, extras: dict[str, Any]) -> None:
        self._sink.extras(extras)


def read_selected(
    format_: Format,
    archive: Archive,
    target: Target,
    options: ImportOptions,
    sink: Sink,
    report: Report,
    progress: Progress,
) -> None:
    """Read an archive into a sink, as much of it as the options select.

    A selection takes two passes, for only the whole archive tells which images to take.
    """
    assert format_.read is not None
    selection = parse_selection(options)
    if selection.is_empty:
        format_.read(archive, target, options, sink, report, progress)
        return
    words = format_.class_words(archive, target.labels) if format_.class_words is not None else ClassWords()
    selector = Selector(selection, target, words, report)
    del words  # an archive may have 250,000 classes, and each pass reads them anew
    seeing, scratch = SeeingSink(selector), Report()
    none_yet = replace(target, chosen=np.zeros(len(target.frames), dtype=np.bool_))
    format_.read(archive, none_yet, options, seeing, scratch, lambda done: progress(done * FIRST_PASS))
    if not scratch.n_errors:
        selector.choose_images(FrameIndex(target.frames), seeing.subsets(target))
        listed = selector.shown.copy()
        selector.settle(must_leave=True)
        if report.n_errors:  # an import of nothing would replace all that is there by it
            return
        # A row without a label might have made its image one of the chosen: where rows decide, it must have one.
        may_match = selection.annotated_only or bool(selection.attributes)
        target = replace(target, chosen=listed if may_match else selector.shown)
    rest = 1.0 - FIRST_PASS
    format_.read(
        archive, target, options, SelectingSink(sink, selector), report, lambda done: progress(FIRST_PASS + done * rest)
    )


def count_selected(format_: Format, source: Source, target: Target, options: ExportOptions, report: Report) -> None:
    """Tell the report's summary what of everything an export with these options would hold (`selection`)."""
    if format_.count is not None:
        format_.count(source, target, options, report)
        return
    selector = Selector(parse_selection(options), target, ClassWords(), report)
    frames = target.frames
    for shapes in source.shapes():
        selector.see(shapes)
    end = frames.start + len(frames)
    for _, _, moved in MovingShapes(source.tracks(), frames.start, end).between(frames.start, end):
        selector.see(moved)
    for tags in source.tags():
        selector.see(tags)
    selector.choose_images(FrameIndex(frames), target.subsets)
    selector.settle()


class _LabelsSink:
    """Notices which labels are used, and keeps nothing."""

    def __init__(self) -> None:
        self.label_ids: set[int] = set()

    def write(self, batch: Annotations) -> None:
        used = [batch.shapes.label_ids, batch.tags.label_ids, batch.tracks.label_ids]
        if batch.meaning is not None and batch.meaning.is_absent:
            used.append(batch.meaning.label_ids[:, 0])
        for label_ids in used:
            self.label_ids.update(distinct(label_ids).tolist())

    def keep(self, data: bytes | memoryview) -> tuple[int, int, int]:
        return 0, len(data), 0

    def extras(self, extras: dict[str, Any]) -> None:
        pass


def selects_labels(options: ImportOptions) -> bool:
    """Whether rows that are not selected may leave a label without any: rows of other types ask for none."""
    return not replace(parse_selection(options), label_types=frozenset()).is_empty


def wanted_labels(archive: Archive, format_: Format, target: Target, options: ImportOptions) -> set[int] | None:
    """Ids of the labels that selected rows use; None where every row is selected, or the archive cannot be read."""
    if not selects_labels(options):
        return None
    selection = parse_selection(options)
    if selection == Selection(
        classes=selection.classes,
        descendants=selection.descendants,
        only_matching=True,
        label_types=selection.label_types,
    ):
        words = format_.class_words(archive, target.labels) if format_.class_words is not None else ClassWords()
        return _label_ids(selection, target.labels, words, Report(limit=1)) or set()
    sink, scratch = _LabelsSink(), Report(limit=1)
    try:
        read_selected(format_, archive, target, options, sink, scratch, lambda done: None)
    except AppError:
        return None  # the real reading meets the same, and tells it
    return None if scratch.n_errors else sink.label_ids


def kinds_of(table: Shapes | Tags) -> Codes:
    """(N,) int32, the label type of each row: its place in `LABEL_TYPES`."""
    if isinstance(table, Tags):
        return np.full(len(table), LABEL_TYPES.index("classifications"), dtype=np.int32)
    kinds = np.full(len(table), LABEL_TYPES.index("others"), dtype=np.int32)
    turned = (table.types == ShapeType.RECTANGLE) & (table.rotations % 360.0 != 0)
    kinds[table.types == ShapeType.RECTANGLE] = LABEL_TYPES.index("detections")
    kinds[among(table.types, _DRAWN) | turned] = LABEL_TYPES.index("segmentations")
    kinds[table.types == ShapeType.POINTS] = LABEL_TYPES.index("points")
    return kinds


def _shuffled(places: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.int64]:
    """Places in an order that the seed alone decides, on any machine: by a 64-bit mix of each (splitmix64)."""
    with np.errstate(over="ignore"):
        mixed = (places.astype(np.uint64) + np.uint64(seed)) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return places[np.argsort(mixed, kind="stable")]


def nearest(wanted: str, words: Iterable[str], report: Report) -> str | None:
    """The word that was probably meant; letter case parts none. Nothing once no more is listed, for a selection may
    name twenty thousand classes, and each is held against all that there are."""
    if report.room("warning") <= 1:
        return None
    folded = {word.casefold(): word for word in words}
    near = difflib.get_close_matches(wanted.casefold(), folded, 1, cutoff=0.6)
    return folded[near[0]] if near else None


def _hint(near: str | None) -> str:
    return f'; did you mean "{shorten(near)}"?' if near is not None else ""


# --- classes ---


def _label_ids(selection: Selection, labels: LabelCatalog, words: ClassWords, report: Report) -> set[int] | None:
    """The labels that the classes mean; None where no class is asked for."""
    if not selection.classes:
        return None
    by_word = _labels_by_word(labels, words)
    below = _descendants(words.hierarchy) if selection.descendants else {}
    found: set[int] = set()
    spellings = _Spellings(words)
    by_folded: dict[str, set[int]] = {}
    for word, ids in by_word.items():
        by_folded.setdefault(word.casefold(), set()).update(ids)
    for wanted in selection.classes:
        names = spellings.of(wanted)
        names |= {word for name in list(names) for lower in below.get(name, ()) for word in spellings.of(lower)}
        meant = {label_id for name in names for label_id in by_word.get(name, ())}
        if not meant:
            meant = by_folded.get(wanted.casefold(), set())
        if not meant:
            near = nearest(wanted, by_word, report)
            message = f'no label is called "{shorten(wanted)}"{_hint(near)}'
            report.warn("selection.unknown", message, value=shorten(wanted), suggestion=near)
        found |= meant
    return found


def _labels_by_word(labels: LabelCatalog, words: ClassWords) -> dict[str, list[int]]:
    """Label ids by every word that means them: name, MID, display name of the MID."""
    found: dict[str, list[int]] = {}
    for label_id, label in labels.by_id.items():
        mid = words.mids.get(label_id)
        for word in dict.fromkeys((label.name, mid, words.display_names.get(mid) if mid else None)):
            if word:
                found.setdefault(word, []).append(label_id)
    return found


class _Spellings:
    """A class by its LabelName and its display name."""

    def __init__(self, words: ClassWords) -> None:
        self._display_names = words.display_names
        self._mids: dict[str, set[str]] = {}
        for mid, name in words.display_names.items():
            self._mids.setdefault(name, set()).add(mid)

    def of(self, word: str) -> set[str]:
        found = {word} | self._mids.get(word, set())
        if word in self._display_names:
            found.add(self._display_names[word])
        return found


def _descendants(hierarchy: str | None) -> dict[str, set[str]]:
    """Everything below each class of a checked hierarchy (`Subcategory` only)."""
    if hierarchy is None:
        return {}
    below: dict[str, set[str]] = {}
    waiting: list[tuple[dict[str, Any], tuple[str, ...]]] = [(json.loads(hierarchy), ())]
    while waiting:
        node, above = waiting.pop()
        name = node["LabelName"]
        below.setdefault(name, set())
        for ancestor in above:
            below[ancestor].add(name)
        waiting += [(child, (*above, name)) for child in node.get("Subcategory", ())]
    return below


# --- attributes ---


class _AttributeWishes:
    """Attribute texts against wishes; each distinct pair of label and text is looked at once a batch."""

    def __init__(self, selection: Selection, labels: LabelCatalog, report: Report) -> None:
        self._wishes = selection.attributes
        self._specs = {
            label_id: {spec.id: (spec.name, spec.default_value) for spec in label.attributes}
            for label_id, label in labels.by_id.items()
        }
        known = {name for specs in self._specs.values() for name, _ in specs.values()} | {"occluded"}
        for name, _ in self._wishes:
            if name not in known:
                near = nearest(name, known, report)
                message = f'no label has an attribute "{shorten(name)}"{_hint(near)}'
                report.warn("selection.unknown", message, value=shorten(name), suggestion=near)

    def match(self, table: Shapes | Tags) -> Mask:
        """(N,) bool: rows whose attributes are all as wished."""
        places, found = self._pairs(table)
        flags = [wish for wish in self._wishes if wish[0] == "occluded"]
        others = [wish for wish in self._wishes if wish[0] != "occluded"]
        good = np.array([all(_is_as_wished(values, *wish) for wish in others) for values in found], dtype=np.bool_)
        matches: Mask = good[places] if len(good) else np.zeros(0, dtype=np.bool_)
        if flags and isinstance(table, Shapes):
            wanted = all(value is None or value.casefold() not in UNSET for _, value in flags)
            matches &= table.occluded == wanted
        elif flags:
            matches &= False
        return matches

    def scores(self, table: Shapes | Tags) -> Reals:
        """(N,) the attribute `score`, NaN where a row has none."""
        places, found = self._pairs(table)
        numbers = np.array([_number(values.get("score", "")) for values in found], dtype=np.float64)
        return numbers[places] if len(numbers) else np.zeros(0, dtype=np.float64)

    def _pairs(self, table: Shapes | Tags) -> tuple[npt.NDArray[np.int64], list[dict[str, str]]]:
        """(N,) places in a list of distinct attribute values by name, defaults among them."""
        keys = table.label_ids.astype(np.int64) * max(len(table.attributes.values), 1) + table.attributes.codes
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        found = []
        for row in first.tolist():
            specs = self._specs.get(int(table.label_ids[row]), {})
            values = dict(specs.values())
            text = table.attributes.row(row)
            for item in json.loads(text) if text not in ("", "[]") else ():
                if item["spec_id"] in specs:
                    values[specs[item["spec_id"]][0]] = str(item["value"])
            found.append(values)
        return inverse.astype(np.int64), found


def _is_as_wished(values: Mapping[str, str], name: str, wanted: str | None) -> bool:
    value = values.get(name)
    if value is None:
        return False
    if wanted is None:
        return value.strip().casefold() not in UNSET
    return value.strip().casefold() == wanted.casefold() or _number(value) == _number(wanted)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
