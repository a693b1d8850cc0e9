"""Headers of many members at once, as columns: what `directory.py` and `locals.py` read one by one, and what
`ArchiveWriter.add_stored` writes so.

Only headers without anything unusual are taken so; each of the others is looked at by itself, as are the few headers of
a small zip. A header says the same either way (`tests/archive/test_header_columns.py`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from app.archive.names import UNICODE_PATH_ID

ZIP64_ID = 0x0001
RECORD_FIELDS = np.dtype(
    [
        ("signature", "<u4"),
        *[(name, "<u2") for name in ("made_by", "needed", "flags", "method", "time", "date")],
        *[(name, "<u4") for name in ("crc", "packed", "size")],
        *[(name, "<u2") for name in ("n_name", "n_extra", "n_comment", "disk", "internal")],
        *[(name, "<u4") for name in ("attributes", "offset")],
    ]
)
LOCAL_FIELDS = np.dtype(
    [
        ("signature", "<u4"),
        *[(name, "<u2") for name in ("needed", "flags", "method", "time", "date")],
        *[(name, "<u4") for name in ("crc", "packed", "size")],
        *[(name, "<u2") for name in ("n_name", "n_extra")],
    ]
)
TOGETHER = 32
"""So many headers are worth it to be looked at as columns."""
_FIELDS_LOOKED_AT = 8

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def headers_at(data: Bytes, places: Places, fields: np.dtype[Any]) -> npt.NDArray[Any]:
    """(N,) of `fields`: the headers that begin at these places; all of each must be there."""
    rows = data[places[:, np.newaxis] + np.arange(fields.itemsize)]
    headers: npt.NDArray[Any] = rows.view(fields)[:, 0]
    return headers


def made_headers(fields: np.dtype[Any], n: int, **columns: npt.ArrayLike) -> list[bytes]:
    """N headers with these values, one for all or (N,) each; 0 in every other field."""
    rows = np.zeros(n, dtype=fields)
    for name, values in columns.items():
        rows[name] = values
    data, size = rows.tobytes(), fields.itemsize
    return [data[at : at + size] for at in range(0, len(data), size)]


def have_plain_extras(data: Bytes, starts: Places, lengths: Places) -> Mask:
    """(N,) bool: extra areas that add up, of a few fields, none of which is a 64-bit number or another name.

    Args:
        starts, lengths: (N,) of the areas; all of each must be there.
    """
    at, ends = starts.copy(), starts + lengths
    are_plain = np.ones(len(at), dtype=np.bool_)
    left = np.flatnonzero(lengths > 0)
    for _ in range(_FIELDS_LOOKED_AT):
        is_cut = ends[left] - at[left] < 4
        are_plain[left[is_cut]] = False
        left = left[~is_cut]
        if not len(left):
            break
        key, size = (data[at[left] + i].astype(np.int64) | data[at[left] + i + 1].astype(np.int64) << 8 for i in (0, 2))
        at[left] += 4 + size
        is_odd = (key == ZIP64_ID) | (key == UNICODE_PATH_ID) | (at[left] > ends[left])
        are_plain[left[is_odd]] = False
        left = left[~is_odd & (at[left] < ends[left])]
    are_plain[left] = False
    return are_plain
