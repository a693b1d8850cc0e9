"""Lines that still lie in their file: a Ragged whose line ends are taken out when somebody looks at the values.

    text  0,1,2␊3,4␊5,6        what the block has, not copied        end  ␊        lengths  5 3 3

An import keeps lines and looks at none of them; they are stored as such a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from app.columns.lazy import MadeRagged, fill
from app.columns.narrow import narrow_numbers
from app.columns.ragged import Indices, Offsets, Ragged
from app.columns.words import Bytes


class GappedLines(MadeRagged):
    """N lines in `text` (uint8), `end` between each two of them and nowhere else; `lengths` (N,) without it."""

    __slots__ = ("_lengths", "_stops", "end", "text")
    text: Bytes
    end: bytes
    _lengths: npt.NDArray[Any]
    _stops: Offsets | None  # of the lines with their ends

    def __init__(self, text: Bytes, end: bytes, lengths: npt.NDArray[Any]) -> None:
        n_bytes = int(lengths.sum()) + len(end) * max(len(lengths) - 1, 0)
        if n_bytes != len(text):
            raise ValueError(f"lines of {n_bytes} bytes with their ends: got {len(text)}")
        fill(self, text=text, end=end, _lengths=lengths, _stops=None, _column=None)

    def __reduce__(self) -> tuple[Any, ...]:
        return GappedLines, (self.text, self.end, narrow_numbers(self._lengths))

    def __len__(self) -> int:
        return len(self._lengths)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.text.dtype

    @property
    def lengths(self) -> Offsets:
        return self._lengths.astype(np.int64)

    @property
    def nbytes(self) -> int:
        return self.text.nbytes + self._lengths.nbytes

    def take(self, indices: Indices) -> Ragged:
        if len(indices) == len(self) and bool((indices == np.arange(len(self))).all()):
            return self
        return self._read().take(indices)

    def slice(self, start: int, stop: int) -> Ragged:
        return self._read().slice(start, stop)

    def row(self, index: int) -> npt.NDArray[Any]:
        return self._read().row(index)

    def join(self, parts: Sequence[Ragged]) -> Ragged:
        if any(not isinstance(part, GappedLines) or part.end != self.end for part in parts):
            return Ragged.join(self, parts)
        end = np.frombuffer(self.end, dtype=np.uint8)
        texts = [text for part in parts if isinstance(part, GappedLines) and len(part) for text in (part.text, end)]
        lengths = np.concatenate([part.lengths for part in parts])
        return GappedLines(np.concatenate(texts[:-1]) if texts else self.text, self.end, lengths)

    def text_between(self, start: int, stop: int) -> Bytes:
        """The text of rows start to stop, at least one, with an end behind each."""
        stops = self._stops
        if stops is None:
            ends = np.arange(1, len(self) + 1, dtype=np.int64) * len(self.end)
            stops = np.cumsum(self._lengths, dtype=np.int64) + ends
            fill(self, _stops=stops)
        text = self.text[int(stops[start - 1]) if start else 0 : int(stops[stop - 1])]
        return text if stop < len(self) else np.concatenate([text, np.frombuffer(self.end, dtype=np.uint8)])

    def _make(self) -> Ragged:
        values = np.frombuffer(self.text.tobytes().replace(self.end, b""), dtype=np.uint8)
        offsets = np.zeros(len(self) + 1, dtype=np.int64)
        np.cumsum(self._lengths, out=offsets[1:])
        return Ragged(values, offsets)
