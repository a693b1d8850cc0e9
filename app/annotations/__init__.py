"""The internal truth, independent of any format and of the store.

In: columns of frames, labels, shapes, tags, tracks and kept rows. Out: the same. Never: bytes of a file, SQL, HTTP.
Start with `tables.py`; `labels.py` and `frames.py` say what the numbers in it refer to.
"""

from app.annotations.comparing import attributes_differ, choose_texts, ragged_differ, texts_differ, without_defaults
from app.annotations.frames import FrameTable
from app.annotations.labels import (
    INPUT_TYPES,
    LABEL_TYPES,
    MAX_NAME_CHARACTERS,
    AttributeSpec,
    Label,
    LabelCatalog,
    has_controls,
    is_label_name,
)
from app.annotations.matching import (
    FrameIndex,
    Matches,
    TextLookup,
    TextSet,
    equal_rows,
    has_repeated_rows,
    nearest_texts,
    normalise_names,
)
from app.annotations.packed_masks import (
    MOST_BYTES,
    can_stay_packed,
    decoded_flips,
    decoded_part,
    frame_size_of,
    pack_masks,
    png_of,
    unpack_mask,
)
from app.annotations.pairing import mix, pair_in_order, pair_nearest, ranks
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
from app.annotations.tracks import MovingShapes, expand_tracks, shapes_between

__all__ = [
    "INPUT_TYPES",
    "LABEL_TYPES",
    "MAX_NAME_CHARACTERS",
    "MOST_BYTES",
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
    "MovingShapes",
    "Rows",
    "RowsMeaning",
    "ShapeType",
    "Shapes",
    "Table",
    "Tags",
    "TextLookup",
    "TextSet",
    "Tracks",
    "attributes_differ",
    "can_stay_packed",
    "choose_texts",
    "decoded_flips",
    "decoded_part",
    "equal_rows",
    "expand_tracks",
    "frame_size_of",
    "has_controls",
    "has_repeated_rows",
    "is_label_name",
    "mix",
    "nearest_texts",
    "normalise_names",
    "pack_masks",
    "pair_in_order",
    "pair_nearest",
    "png_of",
    "ragged_differ",
    "ranks",
    "shapes_between",
    "texts_differ",
    "unpack_mask",
    "without_defaults",
]
