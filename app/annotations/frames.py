"""The frames of a task: their names and sizes, as columns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from app.columns import Ragged, narrow_numbers

Lengths = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class FrameTable:
    """N frames; frame number of row i is `start + i` (a job's table starts at the job's first frame).

    Attributes:
        names: (N,) bytes, UTF-8: the path of the picture within the task, with extension, `/` as separator.
        widths, heights: (N,) int32, pixels of the upright picture; smaller numbers in a narrow table.
        deleted: (N,) bool, frames that exports leave out.
        start: the number of the first frame.
        is_video: frames come from a video; names are `frame_000123` and numbers in ids are absolute frame numbers.
    """

    names: Ragged
    widths: Lengths
    heights: Lengths
    deleted: npt.NDArray[np.bool_]
    start: int = 0
    is_video: bool = False

    def __len__(self) -> int:
        return len(self.names)

    def name(self, frame: int) -> str:
        return self.names.row_bytes(frame - self.start).decode("utf-8")

    def slice(self, start: int, stop: int) -> FrameTable:
        """Frames number start to stop (exclusive)."""
        a, b = start - self.start, stop - self.start
        return FrameTable(
            self.names.slice(a, b), self.widths[a:b], self.heights[a:b], self.deleted[a:b], start, self.is_video
        )

    def sizes(self, frames: npt.NDArray[np.integer[Any]]) -> tuple[Lengths, Lengths]:
        """Widths and heights of frames by their numbers, all of which are here."""
        rows = frames - self.start
        return self.widths[rows].astype(np.int32), self.heights[rows].astype(np.int32)

    def narrow(self) -> FrameTable:
        """The same in less memory: sizes in as few bytes as they need."""
        return replace(self, widths=narrow_numbers(self.widths), heights=narrow_numbers(self.heights))

    @staticmethod
    def build(names: list[str], widths: Any, heights: Any, **more: Any) -> FrameTable:
        return FrameTable(
            Ragged.from_bytes([name.encode("utf-8") for name in names]),
            np.asarray(widths, dtype=np.int32),
            np.asarray(heights, dtype=np.int32),
            more.pop("deleted", np.zeros(len(names), dtype=np.bool_)),
            **more,
        )
