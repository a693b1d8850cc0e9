"""The internal truth, independent of any format and of the store.

In: columns of frames, labels, shapes, tags, tracks and kept rows. Out: the same. Never: bytes of a file, SQL, HTTP.
Start with `tables.py`; `labels.py` and `frames.py` say what the numbers in it refer to.
"""

from app.annotations.frames import FrameTable
from app.annotations.labels import INPUT_TYPES, LABEL_TYPES, AttributeSpec, Label, LabelCatalog
from app.annotations.tables import Annotations, Edit, Images, Kept, Rows, Shapes, ShapeType, Table, Tags, Tracks

__all__ = [
    "INPUT_TYPES",
    "LABEL_TYPES",
    "Annotations",
    "AttributeSpec",
    "Edit",
    "FrameTable",
    "Images",
    "Kept",
    "Label",
    "LabelCatalog",
    "Rows",
    "ShapeType",
    "Shapes",
    "Table",
    "Tags",
    "Tracks",
]
