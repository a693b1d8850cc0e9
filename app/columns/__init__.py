"""Tables of text as columns of arrays, and back.

In:    blocks of bytes of a CSV file; or columns (Ragged, Texts, constant bytes) to write.
Out:   CSVBlocks of cells, and typed columns decoded from them; or the bytes of CSV rows.
Never: loops over rows in Python on a plain block, guesses a dialect, passes over a bad row without reporting it.
Spec:  RFC 4180 as of the Open Images reference, 3.2; numbers as of 4.9; codes `csv.*`.
Start: `CSVReader` in `csv.py`, then `decode_…` in `codecs.py`; `join_columns` in `joins.py`.
"""

from app.columns.cells import Cells
from app.columns.codecs import (
    Flags,
    Numbers,
    Runs,
    TextIndex,
    decode_flags,
    decode_naturals,
    decode_numbers,
    decode_runs,
    decode_texts,
    encode_integers,
    encode_numbers,
)
from app.columns.csv import CSVBlock, CSVReader, split_lines, told_delimiter
from app.columns.few import Coded, FewTexts
from app.columns.gapped import GappedLines
from app.columns.joins import join_columns, join_lines, join_records, join_words, text_of_lines
from app.columns.lazy import LazyRagged, LazyTexts
from app.columns.narrow import NarrowRagged, narrow_numbers, steps, steps_within
from app.columns.numbers import among, distinct, used_codes
from app.columns.packed import PackedRagged, Unpack
from app.columns.places import HashPlaces
from app.columns.ragged import GrowingRagged, Indices, Ragged, Texts
from app.columns.stored import LinePart, StoredLines
from app.columns.tight import dump_texts, dump_tight
from app.columns.whole import LARGEST_WHOLE, WholeRagged, as_doubles, held_values
from app.columns.words import equal_cells, hash_cells

__all__ = [
    "LARGEST_WHOLE",
    "CSVBlock",
    "CSVReader",
    "Cells",
    "Coded",
    "FewTexts",
    "Flags",
    "GappedLines",
    "GrowingRagged",
    "HashPlaces",
    "Indices",
    "LazyRagged",
    "LazyTexts",
    "LinePart",
    "NarrowRagged",
    "Numbers",
    "PackedRagged",
    "Ragged",
    "Runs",
    "StoredLines",
    "TextIndex",
    "Texts",
    "Unpack",
    "WholeRagged",
    "among",
    "as_doubles",
    "decode_flags",
    "decode_naturals",
    "decode_numbers",
    "decode_runs",
    "decode_texts",
    "distinct",
    "dump_texts",
    "dump_tight",
    "encode_integers",
    "encode_numbers",
    "equal_cells",
    "hash_cells",
    "held_values",
    "join_columns",
    "join_lines",
    "join_records",
    "join_words",
    "narrow_numbers",
    "split_lines",
    "steps",
    "steps_within",
    "text_of_lines",
    "told_delimiter",
    "used_codes",
]
