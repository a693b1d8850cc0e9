"""Where the members of an archive lie, and which of them there are: one value for each layout an export can have.

    default    annotations/train-annotations-bbox.csv   masks/train/a_m0_00000000.png   images/train/a.jpg
    official   oidv6-train-annotations-bbox.csv         train-masks-a/a_m0_00000000.png train/a.jpg
    fiftyone   labels/detections.csv                    labels/masks/A/a_m0_00000000.png data/a.jpg

Source: Open Images reference 4.1, 4.13, 1.2 (names as published), 2.4 and 7.5 (FiftyOne).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from app.columns import Ragged, join_columns
from app.formats.open_images.layout import (
    CLASSES_NAME,
    DOCUMENTED_IMAGE_LIST,
    HIERARCHY_NAME,
    SIZES_NAME,
    TABLE_NAMES,
    VAL,
    VALIDATION,
    Kind,
)

LayoutName = Literal["default", "official", "fiftyone"]

Classes = Sequence[tuple[str, str]]
"""LabelName and DisplayName, in the order of the class file."""
Companions = dict[str, tuple[tuple[str, ...], list[tuple[str, ...]]]]
"""Header and rows by path; without a header they are plain lines, with nothing quoted."""
CLASS_COLUMNS = ("LabelName", "DisplayName")
HEXADECIMAL = "0123456789abcdef"
_NUMBER = re.compile(r"\s*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+|inf|infinity)(?:e[+-]?[0-9]+)?\s*", re.IGNORECASE)
_NOTHING = {
    *("-1.#IND", "1.#QNAN", "1.#IND", "-1.#QNAN", "#N/A N/A", "#N/A", "N/A", "n/a", "NA", "<NA>", "#NA"),
    *("NULL", "null", "NaN", "-NaN", "nan", "-nan", "None"),
}
"""What pandas, by which FiftyOne reads, takes for a missing value."""


@dataclass(frozen=True, slots=True)
class ExportLayout:
    """How one layout names its members.

    Attributes:
        table: path of a table by kind, subset (None: one table for all), and all subsets of the export.
        more_lists: paths of further copies of the image list, by subset.
        mask_folder: folder of a mask by subset and image id, with a slash at its end.
        picture: path of a picture by subset, image id and frame name.
        classes, hierarchy: paths.
        has_class_header: the class file begins with `LabelName,DisplayName`.
        sizes: path of images.meta, None where the layout has none.
        one_table: each table holds all subsets, and that of the tags holds machine labels too.
        empty_tables: tables are written even where they have no row.
        companions: further members by path, told the class file's rows, the LabelNames of masks, and names of the
            attributes that relationships tell.
        fills_boxes: the Box* cells of every mask are filled.
        flat_ids: an id has no folder where it can do without.
        names_hierarchy: the hierarchy holds display names.
        guesses_types: its tool takes a column of numbers for numbers, and some words for nothing.
        bright_masks: stored PNGs that look black, or are no two-level grey, are written as black and white.
        subset_first: paths begin with the subset, so that it may not look like a drive.
        one_mask_folder: a mask's name must be free in all folders, because only the name is looked for.
    """

    table: Callable[[Kind, str | None, Collection[str]], str]
    mask_folder: Callable[[str, str], str]
    picture: Callable[[str, str, str], str]
    classes: str
    hierarchy: str
    sizes: str | None
    more_lists: Callable[[str], tuple[str, ...]] = lambda subset: ()
    companions: Callable[[Classes, Collection[str], Classes], Companions] = lambda classes, masked, attributes: {}
    has_class_header: bool = False
    one_table: bool = False
    empty_tables: bool = False
    fills_boxes: bool = False
    flat_ids: bool = False
    names_hierarchy: bool = False
    subset_first: bool = False
    one_mask_folder: bool = False
    bright_masks: bool = False
    guesses_types: bool = False


def _default_table(kind: Kind, subset: str | None, subsets: Collection[str]) -> str:
    return TABLE_NAMES[kind].format(subset)


_OFFICIAL: dict[Kind, tuple[str, str]] = {  # of train, of the others
    "images": ("oidv6-{}-images-with-labels-with-rotation.csv", "{}-images-with-rotation.csv"),
    "boxes": ("oidv6-{}-annotations-bbox.csv", "{}-annotations-bbox.csv"),
    "tags": ("oidv7-{}-annotations-human-imagelabels.csv",) * 2,
    "machine": ("oidv7-{}-annotations-machine-imagelabels.csv",) * 2,
    "masks": ("{}-annotations-object-segmentation.csv",) * 2,
    "points": ("oidv7-{}-annotations-point-labels.csv",) * 2,
    "relationships": ("oidv6-{}-annotations-vrd.csv",) * 2,
}


def _official_table(kind: Kind, subset: str | None, subsets: Collection[str]) -> str:
    """As V7 has it: files that changed carry the version that changed them, and label files say `val`."""
    assert subset is not None
    pattern = _OFFICIAL[kind][subset != "train"]
    if kind in ("tags", "machine", "points") and subset == VALIDATION and VAL not in subsets:
        subset = VAL
    return pattern.format(subset)


def _official_mask_folder(subset: str, image: str) -> str:
    first = image[:1].lower()
    return f"{subset}-masks-{first if first in HEXADECIMAL else '0'}/"


_FIFTYONE: dict[Kind, str] = {
    "images": "metadata/image_ids.csv",
    "boxes": "labels/detections.csv",
    "tags": "labels/classifications.csv",
    "machine": "labels/classifications.csv",
    "masks": "labels/segmentations.csv",
    "points": "labels/points.csv",
    "relationships": "labels/relationships.csv",
}


def _fiftyone_mask_folder(subset: str, image: str) -> str:
    """Of any first character: where a file is not found, FiftyOne 1.22 reads none."""
    first = image[:1].upper()
    return "labels/masks/" if first == "." else f"labels/masks/{first}/"  # a dot is that very folder


def _fiftyone_companions(classes: Classes, masked: Collection[str], attributes: Classes) -> Companions:
    """What FiftyOne opens whether or not there is anything in it. It takes the first line of some for a header."""
    return {
        "metadata/attributes.csv": (("id", "name"), list(attributes)),
        "metadata/point_classes.csv": (CLASS_COLUMNS, list(classes)),
        "metadata/segmentation_classes.csv": ((), [(mid,) for mid, _ in classes if mid in masked]),
    }


LAYOUTS: dict[LayoutName, ExportLayout] = {
    "default": ExportLayout(
        table=_default_table,
        more_lists=lambda subset: (DOCUMENTED_IMAGE_LIST.format(subset),),
        mask_folder=lambda subset, image: f"masks/{subset}/",
        picture=lambda subset, image, name: f"images/{subset}/{name}",
        classes=CLASSES_NAME,
        hierarchy=HIERARCHY_NAME,
        sizes=SIZES_NAME,
    ),
    "official": ExportLayout(
        table=_official_table,
        mask_folder=_official_mask_folder,
        picture=lambda subset, image, name: f"{subset}/{name}",
        classes="oidv7-class-descriptions.csv",
        has_class_header=True,
        hierarchy="bbox_labels_600_hierarchy.json",
        sizes="images.meta",
        subset_first=True,
        one_mask_folder=True,
    ),
    "fiftyone": ExportLayout(
        table=lambda kind, subset, subsets: _FIFTYONE[kind],
        mask_folder=_fiftyone_mask_folder,
        picture=lambda subset, image, name: f"data/{image}{_extension(name, image)}",
        classes="metadata/classes.csv",
        hierarchy="metadata/hierarchy.json",
        sizes="metadata/images.meta",
        companions=_fiftyone_companions,
        one_table=True,
        empty_tables=True,
        fills_boxes=True,
        flat_ids=True,
        names_hierarchy=True,
        one_mask_folder=True,
        bright_masks=True,
        guesses_types=True,
    ),
}


def _extension(name: str, image: str) -> str:
    """What a frame's name has behind the image's id: `.jpg`, or nothing where the id ends with it."""
    stem, dot, extension = name.rpartition(".")
    return f".{extension}" if dot and stem and not image.endswith(f".{extension}") else ""


def misread_names(parts: Iterable[Sequence[str]]) -> tuple[int, str]:
    """How many names, which stand in a column, a tool that guesses types takes for something else, and one of them."""
    n_all = n_nothing = 0
    first, are_numbers = "", True
    for names in parts:
        nothing = _NOTHING.intersection(names)
        are_numbers = are_numbers and all(name in nothing or _NUMBER.fullmatch(name) for name in names)
        n_all, n_nothing = n_all + len(names), n_nothing + len(nothing)
        first = first or next(iter(sorted(nothing)), "") or (names[0] if are_numbers and names else "")
    return (n_all if are_numbers else n_nothing), first


def companion_rows(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> bytes:
    """Rows of a companion, without its header."""
    return csv_rows(rows) if header else "".join(f"{line}\n" for (line,) in rows).encode()


def missing_rows(kept: bytes | memoryview, header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> bytes:
    """Of a companion's rows those whose first cell no row of a kept file has, to stand behind that."""
    text = bytes(kept).decode("utf-8-sig", "replace")
    lines = csv.reader(io.StringIO(text, newline="")) if header else ([line] for line in text.splitlines())
    there = {line[0] for line in lines if line}
    more = companion_rows(header, [row for row in rows if row[0] not in there])
    return b"\n" + more if more and text and text[-1] not in "\r\n" else more


def csv_rows(rows: Sequence[Sequence[str]]) -> bytes:
    """A few rows of equal length."""
    columns = [Ragged.from_bytes([text.encode("utf-8") for text in column]) for column in zip(*rows, strict=True)]
    return join_columns(columns, len(rows)) if columns else b""
