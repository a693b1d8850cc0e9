"""Group numbers for what is added to a task: none that annotations of it have.

An import gives numbers from a free one on, which it looks for as it begins. Others may group things while it reads,
with the very same numbers; so whoever shows its rows looks again, and moves its groups where they would meet others'.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from app.errors import Conflict
from app.formats.base import MAX_GROUP
from app.storage import Connection
from app.storage import annotations as stored

HIGH_GROUP = 1 << 30
"""Few come near it by counting; above it numbers are drawn by lot, and those beyond the highest may be too few."""


def free_groups(conn: Connection, task_id: int) -> tuple[int, int]:
    """A number from which on no group is in use, and how many there are."""
    highest = max((int(numbers.max(initial=0)) for numbers in stored.groups_in_use(conn, task_id)), default=0)
    if highest > HIGH_GROUP:
        return _widest_gap(stored.groups_in_use(conn, task_id))
    return highest + 1, MAX_GROUP - highest


def way_to_free_groups(conn: Connection, task_id: int, set_id: int, first: int) -> int:
    """What to add to the groups of a set at work, which begin at `first`, so that they meet none of the task's: 0,
    unless such groups were made meanwhile.

    Raises:
        Conflict: there is no room for them.
    """
    last = stored.highest_group(conn, task_id, set_id)
    used = stored.groups_in_use(conn, task_id) if last else ()
    if not any(bool(((numbers >= first) & (numbers <= last)).any()) for numbers in used):
        return 0
    free, room = free_groups(conn, task_id)
    if last - first >= room:
        raise Conflict("groups were made meanwhile, and too few numbers are left; import again")
    return free - first


def _widest_gap(groups: Iterator[npt.NDArray[np.int32]]) -> tuple[int, int]:
    """The first of most numbers in a row that no group has, and how many they are."""
    used = np.array([0, MAX_GROUP + 1], dtype=np.int64)
    for numbers in groups:
        used = np.union1d(used, numbers.astype(np.int64))
    gaps = np.diff(used) - 1
    widest = int(gaps.argmax())
    return int(used[widest]) + 1, int(gaps[widest])
