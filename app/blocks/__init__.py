"""Columns of annotations as the bytes of blocks, and back.

In: tables of `app.annotations`. Out: one blob a column of each block; from blobs the columns again. Never: SQL, or what
a task or a set is. Start with `codec.py`, the stored form; `encoding.py` cuts tables into blocks; `waiting.py` has
rows wait on disk until it is their turn.
Why a package: the process that helps an import does nothing else, and starts in a third of the time without the store.
"""

from app.blocks.codec import (
    decode_arrays,
    decode_lines,
    decode_ragged,
    decode_texts,
    encode_array,
    encode_ragged,
    encoder,
    only_text,
)
from app.blocks.encoding import (
    BLOCK_BITS,
    COLD,
    FRAMES_A_BLOCK,
    BlockJob,
    Blocks,
    Numbering,
    blocks_of,
    byte_size,
    count_unnumbered,
    encode_blocks,
    flat_columns,
    frames_of,
    is_packed,
    work_blocks,
)
from app.blocks.waiting import WaitingTables

__all__ = [
    "BLOCK_BITS",
    "COLD",
    "FRAMES_A_BLOCK",
    "BlockJob",
    "Blocks",
    "Numbering",
    "WaitingTables",
    "blocks_of",
    "byte_size",
    "count_unnumbered",
    "decode_arrays",
    "decode_lines",
    "decode_ragged",
    "decode_texts",
    "encode_array",
    "encode_blocks",
    "encode_ragged",
    "encoder",
    "flat_columns",
    "frames_of",
    "is_packed",
    "only_text",
    "work_blocks",
]
