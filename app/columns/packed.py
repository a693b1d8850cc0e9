"""A Ragged whose rows may still be packed: bytes that become values when somebody looks at them.

    packed   7a 03 …  |  —           |  7a 04 …      bytes of a row; none where it is unpacked
    plain    —        |  0 15 1 1 …  |  —            values of the others

Rows are taken, joined and stored as they are. Whoever looks at `values` or `offsets` has all of them unpacked; few
bytes may become many values, so who walks over many rows does it by `pieces`, or by `row`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from app.columns.lazy import MadeRagged, fill
from app.columns.ragged import UNPACKED_VALUES, Indices, Ragged

Unpack = Callable[[npt.NDArray[np.uint8]], npt.NDArray[Any]]


class PackedRagged(MadeRagged):
    """See the module. `packed` (N rows of uint8), `plain` (N rows): each row is in one of them."""

    __slots__ = ("packed", "plain", "unpack")
    packed: Ragged
    plain: Ragged
    unpack: Unpack

    def __init__(self, packed: Ragged, plain: Ragged, unpack: Unpack) -> None:
        if len(packed) != len(plain):
            raise ValueError(f"packed rows: expected {len(plain)}, got {len(packed)}")
        fill(self, packed=packed, plain=plain, unpack=unpack, _column=None)

    def __reduce__(self) -> tuple[Any, ...]:
        return PackedRagged, (self.packed, self.plain, self.unpack)

    def __len__(self) -> int:
        return len(self.plain)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.plain.dtype

    @property
    def nbytes(self) -> int:
        return self.packed.nbytes + self.plain.nbytes

    def row(self, index: int) -> npt.NDArray[Any]:
        packed = self.packed.row(index)
        return self.unpack(packed) if len(packed) else self.plain.row(index)

    def take(self, indices: Indices) -> Ragged:
        return self._of(self.packed.take(indices), self.plain.take(indices))

    def slice(self, start: int, stop: int) -> Ragged:
        return self._of(self.packed.slice(start, stop), self.plain.slice(start, stop))

    def pieces(self, most: int = UNPACKED_VALUES) -> Iterator[Ragged]:
        start, n_values = 0, 0
        rows: list[npt.NDArray[Any]] = []
        for place in np.flatnonzero(self.packed.lengths).tolist():
            row = self.unpack(self.packed.row(place))
            if rows and n_values + len(row) > most:
                yield from self._unpacked(start, place, rows).pieces(most)
                start, rows, n_values = place, [], 0
            rows.append(row)
            n_values += len(row)
        if start < len(self):
            yield from self._unpacked(start, len(self), rows).pieces(most)

    def join(self, parts: Sequence[Ragged]) -> Ragged:
        packed = [
            part.packed if isinstance(part, PackedRagged) else Ragged.empty(np.uint8, len(part)) for part in parts
        ]
        plain = [part.plain if isinstance(part, PackedRagged) else part for part in parts]
        return PackedRagged(Ragged.concatenate(packed), Ragged.concatenate(plain), self.unpack)

    def _of(self, packed: Ragged, plain: Ragged) -> Ragged:
        return PackedRagged(packed, plain, self.unpack) if len(packed.values) else plain

    def _make(self) -> Ragged:
        places = np.flatnonzero(self.packed.lengths).tolist()
        return self._unpacked(0, len(self), [self.unpack(self.packed.row(place)) for place in places])

    def _unpacked(self, start: int, stop: int, rows: list[npt.NDArray[Any]]) -> Ragged:
        """The values of rows start to stop, given those of the packed ones."""
        packed = np.flatnonzero(self.packed.lengths[start:stop])
        both = Ragged.concatenate([self.plain.slice(start, stop), Ragged.from_arrays(rows, self.dtype)])
        places = np.arange(stop - start, dtype=np.int64)
        places[packed] = stop - start + np.arange(len(packed), dtype=np.int64)
        return both.take(places)
