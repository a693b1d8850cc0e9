"""The internal truth, independent of any format and of the store.

In: columns of frames, labels, shapes, tags, tracks and kept rows. Out: the same. Never: bytes of a file, SQL, HTTP.
Start with `tables.py`; `labels.py` and `frames.py` say what the numbers in it refer to.
"""

from app.annotations.frames import FrameTable
from app.annotations.labels import INPUT_TYPES, LABEL_TYPES, AttributeSpec, Label, LabelCatalog
from app.annotations.matching import FrameIndex, Matches, TextLookup, TextSet, nearest_texts, normalise_names
from app.annotations.tables import (
    Annotations,
    Edit,
    Images,
    Kept,
    Rows,
    RowsMeaning,
    Shapes,
    ShapeType,
    Table,
    Tags,
    Tracks,
)
from app.annotations.tracks import expand_tracks

__all__ = [
    "INPUT_TYPES",
    "LABEL_TYPES",
    "Annotations",
    "AttributeSpec",
    "Edit",
    "FrameIndex",
    "FrameTable",
    "Images",
    "Kept",
    "Label",
    "LabelCatalog",
    "Matches",
    "Rows",
    "RowsMeaning",
    "ShapeType",
    "Shapes",
    "Table",
    "Tags",
    "TextLookup",
    "TextSet",
    "Tracks",
    "expand_tracks",
    "nearest_texts",
    "normalise_names",
]
