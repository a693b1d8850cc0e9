"""What the tables of each subset are made of, where frames of many subsets lie among each other.

    one pass over shapes, tags, rows, images ─▶ wait on disk by the subset of their frame ─▶ subset after subset

Tables of an archive come subset by subset; to look for the rows of each among all would be a pass for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from app.blocks import WaitingTables
from app.formats.open_images.plan import Plan


class SubsetTables:
    """Tables of any kind, each read once, when its first subset is asked for."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._waiting: dict[str, WaitingTables] = {}

    def of(self, kind: str, subset: str | None, read: Callable[[], Iterable[Any]]) -> Iterator[Any]:
        """The tables of one kind that hold the shown frames of a subset, in ascending frames; `read` gives all."""
        if kind not in self._waiting:
            waiting = self._waiting[kind] = WaitingTables()
            for table in read():
                waiting.add(table, self._codes(table.frames))
        values = self._plan.subsets.values
        return self._waiting[kind].read(values.index(subset)) if subset in values else iter(())

    def _codes(self, frames: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """(N,) the subset of each frame; -1 of those that are not shown, or not of the target."""
        plan, n = self._plan, len(self._plan.target.frames)
        places = frames.astype(np.int64) - plan.start
        inside = (places >= 0) & (places < n)
        places = np.where(inside, places, 0)
        return np.where(inside & plan.shown[places], plan.subsets.codes[places], -1).astype(np.int32)
