"""The words of Open Images: entry names, column names, and what each entry of an archive is taken for.

This is the only file that spells them; readers and writers are written from it.

    annotations/train-annotations-bbox.csv     table: kind "boxes", subset "train"
    masks/train/a_m0_00000000.png              mask
    train-masks-a.zip/a_m0_00000000.png        mask, in a zip as published (`looks_into` says that it is opened)
    images/train/a.jpg                         picture (the task has its own)
    oidv6-relationship-triplets.csv, README.md …   kept as they are
    __MACOSX/…, .DS_Store                      clutter

Source: Open Images reference 2.5 (names), 1.3 (columns), 4.1 (order).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

from app.errors import Report, shorten
from app.formats.base import NAMES_SHOWN, NAMES_TRIED, PACKED, hint_of_names

Kind = Literal[
    "images", "boxes", "tags", "machine", "masks", "points", "relationships", "narratives", "classes", "hierarchy",
    "sizes", "side",
]  # fmt: skip

IMAGE_COLUMNS = (
    "ImageID", "Subset", "OriginalURL", "OriginalLandingURL", "License", "AuthorProfileURL", "Author", "Title",
    "OriginalSize", "OriginalMD5", "Thumbnail300KURL", "Rotation",
)  # fmt: skip
BOX_COLUMNS = (
    "ImageID", "Source", "LabelName", "Confidence", "XMin", "XMax", "YMin", "YMax", "IsOccluded", "IsTruncated",
    "IsGroupOf", "IsDepiction", "IsInside",
)  # fmt: skip
TAG_COLUMNS = ("ImageID", "Source", "LabelName", "Confidence")
MASK_COLUMNS = (
    "MaskPath", "ImageID", "LabelName", "BoxID", "BoxXMin", "BoxXMax", "BoxYMin", "BoxYMax", "PredictedIoU", "Clicks",
)  # fmt: skip
POINT_COLUMNS = (
    "ImageId", "X", "Y", "Label", "EstimatedYesNo", "Source", "YesVotes", "NoVotes", "UnsureVotes", "TextLabel",
)  # fmt: skip
ENDS = ("1", "2")
"""A relationship is between two boxes: what the columns of each end with."""
RELATIONSHIP_COLUMNS = (
    "ImageID", "LabelName1", "LabelName2", "XMin1", "XMax1", "YMin1", "YMax1", "XMin2", "XMax2", "YMin2", "YMax2",
    "RelationshipLabel",
)  # fmt: skip
NARRATIVE_COLUMNS = ("ImageID", "DatasetID", "AnnotatorID", "Caption")
"""Of the rows that a narrative leaves to be read; its file is kept as it came."""
CLICK_COLUMNS = tuple(f"XClick{corner}{axis}" for axis in "XY" for corner in "1234")
COORDINATES = ("XMin", "XMax", "YMin", "YMax")
MASK_COORDINATES = tuple("Box" + column for column in COORDINATES)
FLAGS = {
    "IsOccluded": "occluded",
    "IsTruncated": "truncated",
    "IsGroupOf": "is_group_of",
    "IsDepiction": "is_depiction",
    "IsInside": "is_inside",
}
"""Flag columns and the attributes that show them."""
POINT_PLACE = ("X", "Y")
POINT_ATTRIBUTES = {
    "EstimatedYesNo": "estimated_yes_no",
    "Source": "source",
    "YesVotes": "yes_votes",
    "NoVotes": "no_votes",
    "UnsureVotes": "unsure_votes",
    "TextLabel": "text_label",
}
"""Columns of point labels and the attributes that show them."""
SHOWING = frozenset({"score", "source", "box_id", "predicted_iou", *FLAGS.values(), *POINT_ATTRIBUTES.values()})
"""The attributes that show what some column says."""
IS = "is"
"""The relation of a thing to an attribute of its own: the second label is no class, the second box is the first."""

COLUMNS: dict[Kind, tuple[str, ...]] = {
    "images": IMAGE_COLUMNS,
    "boxes": BOX_COLUMNS,
    "tags": TAG_COLUMNS,
    "machine": TAG_COLUMNS,
    "masks": MASK_COLUMNS,
    "points": POINT_COLUMNS,
    "relationships": RELATIONSHIP_COLUMNS,
    "narratives": NARRATIVE_COLUMNS,
}
ALIASES: dict[Kind, dict[str, str]] = {
    "tags": {"confidenceimagelabel": "Confidence"},
    "points": {"labelname": "Label"},
    "relationships": {"relationlabel": "RelationshipLabel"},
}
"""Other names of a column (in lower case): the format's own description, its files, and the tables of the challenges'
evaluation (whose labels would all be present ones without it) do not always agree."""
LABEL_COLUMNS: dict[Kind, tuple[str, ...]] = {"points": ("Label",), "relationships": ("LabelName1", "LabelName2")}
"""The columns of a table that name labels, where it is not `LabelName`."""
LABEL_TYPE_OF: dict[Kind, str] = {
    "boxes": "detections",
    "tags": "classifications",
    "machine": "classifications",
    "masks": "segmentations",
    "points": "points",
    "relationships": "relationships",
}
"""What selections call the rows of a table."""
REQUIRED: dict[Kind, tuple[str, ...]] = {
    "images": ("ImageID",),
    "boxes": ("ImageID", "LabelName", *COORDINATES),
    "tags": ("ImageID", "LabelName"),
    "machine": ("ImageID", "LabelName"),
    "masks": ("MaskPath", "ImageID", "LabelName"),
    "points": ("ImageId", "X", "Y", "Label"),
    "relationships": ("ImageID", "LabelName1", "LabelName2"),
}
CLASS_HEADERS = {("labelname", "displayname"), ("id", "name"), ("mid", "classname")}

LOWEST, HIGHEST = -1.0, 2.0
"""Coordinates outside are refused: they look like pixels."""

FOLDER = "annotations/"
TABLE_NAMES: dict[Kind, str] = {
    "images": FOLDER + "{}-images-with-rotation.csv",
    "boxes": FOLDER + "{}-annotations-bbox.csv",
    "tags": FOLDER + "{}-annotations-human-imagelabels.csv",
    "machine": FOLDER + "{}-annotations-machine-imagelabels.csv",
    "masks": FOLDER + "{}-annotations-object-segmentation.csv",
    "points": FOLDER + "{}-annotations-point-labels.csv",
    "relationships": FOLDER + "{}-annotations-vrd.csv",
}
DOCUMENTED_IMAGE_LIST = FOLDER + "{}-image_ids_and_rotation.csv"
CLASSES_NAME = FOLDER + "class-descriptions.csv"
HIERARCHY_NAME = FOLDER + "bbox_labels_600_hierarchy.json"
SIZES_NAME = FOLDER + "images.meta"
SIDE_NAME = FOLDER + "oid_extra.json"

DEFAULT_SUBSET = "default"
VAL, VALIDATION = "val", "validation"

_P = r"(?:oidv\d+-|challenge-\d{4}-)?"
_CHALLENGE = r"challenge-\d{4}-"
_SUBSET = r"(?P<subset>.+?)"
_PATTERNS: tuple[tuple[Kind, str], ...] = (
    ("images", r"image_ids(?:_and_rotation)?\.csv"),
    ("images", _P + _SUBSET + r"-image_ids(?:_and_rotation)?\.csv"),
    ("images", _P + _SUBSET + r"-images(?:-boxable|-with-labels|-with-bbox)*(?:-with-rotation)?\.csv"),
    ("boxes", _P + _SUBSET + r"-annotations(?:-human)?-bbox\.csv"),
    ("tags", _P + _SUBSET + r"-annotations-human-imagelabels(?:-boxable)?\.csv"),
    ("machine", _P + _SUBSET + r"-annotations-machine-imagelabels\.csv"),
    ("masks", _P + _SUBSET + r"-annotations-object-segmentation\.csv"),
    ("masks", r"masks_data\.csv"),
    ("boxes", _CHALLENGE + _SUBSET + r"-(?:detection|segmentation)-bbox\.csv"),
    ("tags", _CHALLENGE + _SUBSET + r"-(?:detection|segmentation|vrd)-(?:human-image)?labels\.csv"),
    ("masks", _CHALLENGE + _SUBSET + r"-segmentation-masks\.csv"),
    ("points", _P + _SUBSET + r"-annotations-point-labels\.csv"),
    ("relationships", _P + _SUBSET + r"-annotations-vrd\.csv"),
    ("relationships", _CHALLENGE + r"(?!classes-|image-ids-)" + _SUBSET + r"-vrd\.csv"),
    ("narratives", r".*(?:localized[_-]narratives|captions).*\.jsonl"),
    ("classes", _P + r"class-descriptions(?:-boxable)?\.csv"),
    ("classes", _CHALLENGE + r"class(?:es)?-descriptions?-(?:\d+|segmentable)\.csv"),
    ("classes", _CHALLENGE + r"classes-vrd\.csv"),
    ("hierarchy", r".*hierarchy\.json"),
    ("sizes", r"images\.meta"),
    ("side", r"oid_extra\.json"),
)
_BASE_NAMES = tuple((kind, re.compile(pattern, re.IGNORECASE)) for kind, pattern in _PATTERNS)
_IN_FOLDER: dict[str, Kind] = {
    "labels/detections.csv": "boxes",
    "labels/classifications.csv": "tags",
    "labels/segmentations.csv": "masks",
    "labels/points.csv": "points",
    "labels/relationships.csv": "relationships",
    "metadata/classes.csv": "classes",
    "metadata/image_ids.csv": "images",
}
_CLUTTER = re.compile(r"(?:^|/)(?:__MACOSX/|\._[^/]*$|(?:\.DS_Store|Thumbs\.db|desktop\.ini)$)", re.IGNORECASE)
_PICTURE = re.compile(r"\.(?:jpe?g|jpe|jfif|png|bmp|dib|gif|webp|tiff?)$", re.IGNORECASE)
_MASK = re.compile(r"(?:^|/)(?:masks|[^/]+-masks-[0-9a-f](?:\.zip)?)/(?:.*/)?[^/]+\.png$", re.IGNORECASE)
_IN_IMAGES = re.compile(r"(?:^|/)images/[^/]+/", re.IGNORECASE)
"""In front of a folder that is called like one of masks: it belongs to the names of pictures."""
_MASK_ZIP = re.compile(r"[^/]+-masks-[0-9a-f]\.zip", re.IGNORECASE)
_INSIDE_ZIP = re.compile(r"(-masks-[0-9a-f])\.zip/", re.IGNORECASE)
_TEXT = (".csv", ".json", ".jsonl", ".meta", ".txt")
_WHOLE_NAMES = (
    "class-descriptions.csv", "class-descriptions-boxable.csv", "image_ids_and_rotation.csv", "masks_data.csv",
    "bbox_labels_600_hierarchy.json", "images.meta", "oid_extra.json",
)  # fmt: skip
_SUFFIXES = (
    "-images-with-rotation.csv", "-images-with-labels-with-rotation.csv", "-images-boxable-with-rotation.csv",
    "-annotations-bbox.csv", "-annotations-human-imagelabels.csv", "-annotations-human-imagelabels-boxable.csv",
    "-annotations-machine-imagelabels.csv", "-annotations-object-segmentation.csv",
    "-annotations-point-labels.csv", "-annotations-vrd.csv",
)  # fmt: skip
_NEAR = 0.84
"""How alike two names are for one to be meant by the other, as `difflib` counts."""
_WELL_KNOWN = re.compile(
    r"(?:.*relationship-triplets|.*relationships?-description|.*attributes-description|.*classes.*|dataset_meta|readme"
    r"|_?annotations)"
    r"\.(?:csv|txt|json|md)",
    re.IGNORECASE,
)
"""Files of the data set that are kept: a name that looks like a table's by chance."""
_ANY_SUBSET = "train"
"""In names that are proposed."""
_NO_TABLE = ("narratives",)
_NO_ROWS = ("classes", "hierarchy", "sizes", "side")
_NO_DATA_SET = ("hierarchy", "sizes", "side")
_ANNOTATIONS: tuple[Kind, ...] = ("boxes", "tags", "masks", "points", "relationships")
_VERSION = re.compile(r"^oidv\d+-")
_ANNOTATION_FOLDERS = ("annotations", "labels", "metadata")
_SPLITS = ("train", VALIDATION, VAL, "test")
"""Folders around a FiftyOne data set that tell its subset: `train/labels/detections.csv`."""


@dataclass(frozen=True, slots=True)
class TableFile:
    """One recognised table: its path in the archive, what it is, and the subset its name tells (None: nothing)."""

    path: str
    kind: Kind
    subset: str | None


@dataclass(slots=True)
class Layout:
    """What every entry of an archive is taken for."""

    tables: list[TableFile] = field(default_factory=list)
    masks: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    root: str = ""

    def of(self, *kinds: Kind) -> list[TableFile]:
        return [table for table in self.tables if table.kind in kinds]

    def class_files(self) -> list[TableFile]:
        """In the order of their names: `class-descriptions.csv` in front of `class-descriptions-boxable.csv`."""
        return sorted(self.of("classes"), key=lambda table: table.path.rpartition(".")[0])

    def likely_masks(self) -> list[str]:
        """The PNGs that rows of masks will name, as far as can be told before a row is read."""
        return (
            [path for path in self.masks or self.pictures if path.lower().endswith(".png")] if self.of("masks") else []
        )


def classify(path: str) -> TableFile | None:
    """The table that an entry's name says it is, or None."""
    if not knows(path):
        return None  # masks and pictures, tens of thousands of them
    parts = path.split("/")
    kind = _IN_FOLDER.get("/".join(parts[-2:]).lower())
    if kind is not None:
        split = parts[-3] if len(parts) > 2 and parts[-3] in _SPLITS and kind != "classes" else None
        return TableFile(path, kind, split)
    for kind, pattern in _BASE_NAMES:
        match = pattern.fullmatch(parts[-1])
        if match is not None:
            return TableFile(path, kind, match.groupdict().get("subset"))
    return None


def is_clutter(path: str) -> bool:
    """Whether an entry is what desktops leave behind: passed over without a word."""
    return _CLUTTER.search(path) is not None


def is_picture(path: str) -> bool:
    return _PICTURE.search(path) is not None


def _is_mask(path: str) -> bool:
    """Whether a PNG lies where masks do: `masks/train/a.png`, and not `images/train/masks/a.png`."""
    match = _MASK.search(path)
    return match is not None and _IN_IMAGES.search(path, 0, match.start() + 1) is None


def looks_into(name: str) -> bool:
    """Whether a zip of this name is a folder of masks, as published: `train-masks-0.zip`."""
    return _MASK_ZIP.fullmatch(name) is not None


def knows(name: str) -> bool:
    """Whether a file of this name may be a table by itself, or another file that the data set has."""
    return name.lower().endswith(_TEXT)


def unzipped(path: str) -> str:
    """The path of a member as if the zip of masks that it came in had been unpacked."""
    return _INSIDE_ZIP.sub(r"\1/", path)


def accepts(names: Sequence[str]) -> bool:
    """Whether these entries hold at least one table of images or annotations, or a class file."""
    tables = (classify(name) for name in names if not is_clutter(name))
    return any(table is not None and table.kind not in _NO_DATA_SET for table in tables)


def lay_out(names: Sequence[str], report: Report) -> Layout:
    """Sort the entries of an archive; `layout.several_roots`, `layout.not_found` and
    `layout.two_versions` go to the report."""
    layout = Layout()
    for path in sorted(names):
        if is_clutter(path):
            continue
        if (table := classify(path)) is not None:
            layout.tables.append(table)
        elif _is_mask(path):
            layout.masks.append(path)
        elif is_picture(path):
            layout.pictures.append(path)
        else:
            layout.kept.append(path)
    _keep_second_hierarchies(layout)
    _keep_repeated_challenges(layout)
    is_data_set = accepts(names)
    if not is_data_set or not has_rows(layout):
        near = nearest_of(layout.kept)
        # Class names and a table with a slip in its name, or a packed one, must not empty a task.
        if near or not is_data_set or any(map(is_packed_table, layout.kept)):
            held = ", ".join(shorten(name) for name in sorted(names)[:NAMES_SHOWN]) or "nothing"
            report.error(
                "layout.not_found",
                "no Open Images table in the zip, such as annotations/train-annotations-bbox.csv or "
                f"annotations/train-images-with-rotation.csv; it holds {held}{hint_of_names(near, names)}",
                suggestion=near,
            )
            return layout
    layout.root = _common_folder(table.path for table in layout.tables if table.kind not in _NO_TABLE)
    _check_one_root(layout, report)
    _tell_two_versions(layout, report)
    return layout


def is_packed_table(path: str) -> bool:
    """Whether a file is a table that somebody has packed by itself: `train-annotations-bbox.csv.gz`."""
    stem, dot, extension = path.rpartition(".")
    return f"{dot}{extension}".lower() in PACKED and classify(stem) is not None


def has_rows(layout: Layout) -> bool:
    """Whether any table has rows about images."""
    return any(table.kind not in _NO_ROWS + _NO_TABLE for table in layout.tables)


def is_unknown(path: str) -> bool:
    """Whether a file's name says nothing of what it holds."""
    return classify(path) is None


def proposed_name(path: str, name: str) -> str:
    """The name of a table (one of `TABLE_NAMES`), in the file's own folder."""
    folder, _, _ = path.rpartition("/")
    base = name.removeprefix(FOLDER).format(_ANY_SUBSET)
    return f"{folder}/{base}" if folder else base


def nearest_of(names: Iterable[str]) -> str | None:
    """The name of a table that one of the files was probably meant to have."""
    others = (name for name in names if not is_clutter(name) and not is_picture(name))
    return next(filter(None, map(nearest_name, islice(others, NAMES_TRIED))), None)


def nearest_name(path: str) -> str | None:
    """The name of a table that a file which is none was probably meant to have; None where it looks like no table."""
    folder, _, base = path.rpartition("/")
    if classify(path) is not None or _WELL_KNOWN.fullmatch(base) or base.lower().endswith(PACKED):
        return None
    whole = difflib.get_close_matches(base.lower(), _WHOLE_NAMES, 1, cutoff=_NEAR)
    if whole:
        return f"{folder}/{whole[0]}" if folder else whole[0]
    best, found = _NEAR, None
    dashes = [at for at, character in enumerate(base) if character in "-_" and at]
    for at in dashes:
        tail = base[at:].lower().replace("_", "-")
        for suffix in _SUFFIXES:
            ratio = difflib.SequenceMatcher(None, tail, suffix).ratio()
            if ratio > best:
                best, found = ratio, base[:at] + suffix
    if found is None:  # without its subset?
        bare = difflib.get_close_matches(
            base.lower().replace("_", "-"), [one[1:] for one in _SUFFIXES], 1, cutoff=_NEAR
        )
        found = f"{_ANY_SUBSET}-{bare[0]}" if bare else None
    return None if found is None else f"{folder}/{found}" if folder else found


def _keep_second_hierarchies(layout: Layout) -> None:
    """One hierarchy is read: the one of the known name, else the first; others are kept as they are."""
    found = layout.of("hierarchy")
    if len(found) < 2:
        return
    known = [table for table in found if table.path.rpartition("/")[2].lower() == "bbox_labels_600_hierarchy.json"]
    chosen = (known or found)[0]
    for table in found:
        if table is not chosen:
            layout.tables.remove(table)
            layout.kept.append(table.path)
    layout.kept.sort()


def _keep_repeated_challenges(layout: Layout) -> None:
    """The challenges' tables repeat rows of the data set's: where those are there too, they are kept as they are."""

    def is_challenge(table: TableFile) -> bool:
        base = table.path.rpartition("/")[2].lower()
        return base.startswith("challenge-") and table.kind in ("boxes", "tags", "masks", "relationships")

    own = {(table.kind, table.subset) for table in layout.tables if not is_challenge(table)}
    for table in [table for table in layout.tables if is_challenge(table)]:
        if (table.kind, table.subset) in own:
            layout.tables.remove(table)
            layout.kept.append(table.path)
    layout.kept.sort()


def _common_folder(paths: Iterable[str]) -> str:
    """The deepest folder that holds all paths, with a slash at its end; "" for the top."""
    folders = [path.split("/")[:-1] for path in paths]
    common: list[str] = []
    for parts in zip(*folders, strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    if common and common[-1].lower() in _ANNOTATION_FOLDERS:
        common.pop()
    return "".join(part + "/" for part in common)


def table_name(table: TableFile) -> str | None:
    """By what the tables of a data set differ; None of class files, of which every one is read, and conflicts are
    told."""
    if table.kind == "classes":
        return None
    base = table.path.rpartition("/")[2].lower()
    if table.path.split("/")[-2:-1] in (["labels"], ["metadata"]):
        base = f"{table.subset or ''}/{base}"  # FiftyOne keeps each split in a folder of its own
    return base


def _check_one_root(layout: Layout, report: Report) -> None:
    """The same table name in two sibling trees means two data sets."""
    seen: dict[str, str] = {}
    for table in layout.tables:
        base = table_name(table)
        if base is None:
            continue
        first = seen.setdefault(base, table.path)
        if first != table.path:
            report.error(
                "layout.several_roots",
                f"{first} and {table.path} are two tables of one name: the zip holds more than one data set; "
                "upload each by itself",
                file=table.path,
            )


def _tell_two_versions(layout: Layout, report: Report) -> None:
    """`train-annotations-bbox.csv` beside `oidv6-train-annotations-bbox.csv`: a release publishes anew what it changed,
    with all the rows that stayed."""
    seen: dict[tuple[Kind, str], str] = {}
    for table in layout.tables:
        base = table.path.rpartition("/")[2].lower()
        if table.kind not in _ANNOTATIONS:
            continue
        first = seen.setdefault((table.kind, _VERSION.sub("", base)), table.path)
        if first != table.path and first.rpartition("/")[2].lower() != base:
            report.warn(
                "layout.two_versions",
                f"{first} is the same table of another version of the data set: rows that both have come twice. "
                "Send the one that is meant",
                file=table.path,
            )
