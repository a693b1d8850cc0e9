"""What other tools are known to do to archives: recognised while reading, and told with what was done about it.

    class.header_row        a header that was taken for a class (`LabelName,LabelName`)        no class is made of it
    class.swapped           DisplayName before LabelName                                       read the other way round
    class.named_by_mid      classes whose display name is their MID                            other names are used
    csv.line_ends           CRLF or CR                                                         written back as LF
    value.single_precision  0.8 as 0.800000011920929                                           0.8 places the box
    value.decimal_one       Confidence as 1.0                                                  counts as 1
    value.flag_words        flags as true, no, 0.0 …                                           written back as digits
    mask.dark               PNGs of 0 and 1 in 8 bits, which look black                        not 0 is the object
    mask.shared_file        rows that name one PNG: all masks but the last were written over   each row shows it
    meta.incomplete         images.meta without sizes of annotated images                      the frames have their own

Each is one warning a table, whatever the number of rows; cells and bytes themselves are kept as they came.

Source: Open Images reference 7.1 to 7.4 (what the tools do), 7.7.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from app.columns import Cells
from app.errors import Problem, Report, shorten

Reals = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

REPAIRS = (
    "class.header_row",
    "class.swapped",
    "class.named_by_mid",
    "csv.line_ends",
    "value.single_precision",
    "value.decimal_one",
    "value.flag_words",
    "mask.dark",
    "mask.shared_file",
    "meta.incomplete",
)
LONG_NUMBER = 10
"""Characters from which a cell may tell single precision: published tables have up to nine decimals, and 0 and 1."""
MAX_DECIMALS = 9
_MID = re.compile(r"/[a-z]/[0-9a-z_]+")
_HEADER_WORDS = frozenset({"labelname", "displayname", "mid", "classname"})
_CARRIAGE_RETURN = 13


@dataclass(slots=True)
class Repairs:
    """The repairs of one import, each told once a file and counted."""

    report: Report
    _told: set[tuple[str, str]] = field(default_factory=set)

    def tell(
        self,
        code: str,
        file: str,
        count: int,
        message: Callable[[], str] | str,
        row: int | None = None,
        column: str | None = None,
        value: str | None = None,
    ) -> None:
        """Some rows of a file were mended."""
        if not count:
            return
        if (code, file) in self._told:
            self.report.count_more(code, "warning", count)
            return
        self._told.add((code, file))
        text = message if isinstance(message, str) else message()
        shown = None if value is None else shorten(value)
        self.report.add_many([Problem(code, text, "warning", file, row, column, shown)], count)

    def summarise(self) -> None:
        """How often each was needed, for the report."""
        counts = self.report.counts
        self.report.summary["repairs"] = {code: counts[code] for code in REPAIRS if code in counts}


def is_mid(text: str) -> bool:
    """Whether a text looks like the name of a class in the knowledge graph: `/m/01yrx`, `/g/11b7`."""
    return _MID.fullmatch(text) is not None


def is_header_row(mid: str, name: str) -> bool:
    """Whether a row of a class file is a header that somebody took for a class: its words, whatever their order."""
    return {mid.strip().casefold(), name.strip().casefold()} <= _HEADER_WORDS


def has_foreign_ends(buffer: npt.NDArray[np.uint8], stop: int) -> bool:
    """Whether the line that ends at `stop` ends with CR or CRLF."""
    return stop < len(buffer) and int(buffer[stop]) == _CARRIAGE_RETURN


def short_decimals(values: Reals, cells: Cells, good: Mask) -> tuple[Reals, Mask]:
    """Numbers that went through single precision, as the shortest decimals that do.

    Returns:
        The values, and (N,) bool, those that are others now. None unless all numbers of many digits are of this kind.
    """
    long = np.flatnonzero(good & (cells.lengths >= LONG_NUMBER))
    nothing = np.zeros(len(values), dtype=np.bool_)
    if not len(long):
        return values, nothing
    given = values[long]
    single = given.astype(np.float32)
    if (single.astype(np.float64) != given).any():
        return values, nothing
    found = given.copy()
    left = np.arange(len(long))
    for decimals in range(1, MAX_DECIMALS + 1):
        rounded = np.round(given[left], decimals)
        fits = rounded.astype(np.float32) == single[left]
        found[left[fits]] = rounded[fits]
        left = left[~fits]
    changed = nothing.copy()
    changed[long] = found != given
    mended = values.copy()
    mended[long] = found
    return mended, changed


def are_decimal_ones(cells: Cells) -> Mask:
    """(N,) bool: the cell is `1.0`."""
    result: Mask = cells.lengths == 3
    rows = np.flatnonzero(result)
    starts = cells.starts[rows]
    first, second, third = (cells.buffer[starts + place] for place in range(3))
    result[rows] = (first == ord("1")) & (second == ord(".")) & (third == ord("0"))
    return result


def are_digits(cells: Cells) -> Mask:
    """(N,) bool: the cell is a flag as published, `0`, `1` or `-1`."""
    if not len(cells.buffer):
        return np.zeros(len(cells), dtype=np.bool_)
    first = cells.buffer[np.minimum(cells.starts, len(cells.buffer) - 1)]  # an empty cell may end the buffer
    last = cells.buffer[cells.stops - 1]
    good: Mask = (cells.lengths == 1) & ((first == ord("0")) | (first == ord("1")))
    good |= (cells.lengths == 2) & (first == ord("-")) & (last == ord("1"))
    return good
