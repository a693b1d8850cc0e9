"""The ways of tracks over the frames of a task, held against the rows that show them.

    key frames   a           d          of a track, as the side file names them
    rows         a   b   c              where the exported track showed

    frames here  b   a   d              b is before the track: its row would be lost
                 a   c   b   d          b and c have changed places: other boxes would stand there
                 a   b   x   c   d      what lies between two key frames is another share of the way now

A track is good only where each of its rows is shown by it, at the place where the row says. Images that the archive
does not list may have come after its export: what a track shows there is nobody's loss. Where a track has not moved
until it ends, and ends on an image of no frame, or of another task, it is as good as one without that end.

Source: Open Images reference 4.12.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from app.columns import Ragged
from app.formats.open_images.side_items import ends_still

Find = Callable[[Ragged], npt.NDArray[np.int32]]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

NAMES_AT_ONCE = 20_000
UNKNOWN = -1
_MOST = (1 << 31) - 1


class TrackWays:
    """N tracks and their K key frames, in the order they are added.

    Attributes:
        is_cut: (N,) bool, tracks whose last key frame is to be left out: it is on no frame of their task.
    """

    def __init__(self, find: Find, parts: Sequence[int] = (), is_part: bool = False) -> None:
        """None yet.

        Args:
            find: image ids to frame numbers, below 0 where there is none.
            parts: the first frame of each task, where there are several.
            is_part: the frames are those of a job: a track without an end would go on behind them.
        """
        self._find, self._parts = find, np.array(parts, dtype=np.int64)
        self._may_cut = not is_part
        self._names: list[bytes] = []  # of key frames that are not looked up yet
        self._found = array("i")
        self._told = array("i")  # where each key frame lay in the exporting task, from the first one on
        self._outside = bytearray()
        self._ends_still = bytearray()  # of each track: its last key frame is where the one before is, but outside
        self._told_ends = array("i")  # of each track, where the frames of that task ended
        self._starts = array("q", [0])  # N + 1
        self._frames: Ints = np.empty(0, dtype=np.int64)  # (K,)
        self._rows: Ints = np.empty(0, dtype=np.int64)  # (K,) frames with a row between a key frame and the next one
        self._last: Ints = np.empty((0, 2), dtype=np.int64)  # (N, 2) table and frame of the latest row
        self._is_off: Mask = np.empty(0, dtype=np.bool_)  # (N,)
        self.is_cut: Mask = np.empty(0, dtype=np.bool_)

    def __len__(self) -> int:
        return len(self._starts) - 1

    def add(self, item: dict[str, Any]) -> None:
        """The next track; of one that is no track nothing is known."""
        try:
            shapes = item["body"]["shapes"]
            keys = [(str(key["image"]).encode("utf-8", "replace"), key["outside"] is True) for key in shapes]
            is_still = ends_still(shapes)
        except (KeyError, TypeError, AttributeError):
            keys, is_still = [], False
        told = _way_of(item.get("at"), len(keys) + 1)
        for name, is_outside in keys:
            self._names.append(name)
            self._outside.append(is_outside)
        self._told.extend(told[:-1])
        self._told_ends.append(told[-1])
        self._ends_still.append(is_still)
        self._starts.append(len(self._outside))
        if len(self._names) >= NAMES_AT_ONCE:
            self._look_up()

    def _look_up(self) -> None:
        self._found.extend(self._find(Ragged.from_bytes(self._names)).tolist())
        self._names = []

    def settle(self) -> None:
        """All tracks are there."""
        self._look_up()
        self._frames = np.array(self._found, dtype=np.int64)
        self._drop_ends()
        self._rows = np.zeros(len(self._frames), dtype=np.int64)
        self._last = np.full((len(self), 2), -1, dtype=np.int64)
        self._is_off = np.zeros(len(self), dtype=np.bool_)

    def _drop_ends(self) -> None:
        """Of tracks that have not moved until they end elsewhere."""
        starts = np.array(self._starts, dtype=np.int64)
        may_end = np.frombuffer(self._ends_still, dtype=np.bool_) & self._may_cut
        self.is_cut = may_end.copy()
        rows = np.flatnonzero(may_end)
        firsts, lasts = self._frames[starts[rows]], self._frames[starts[rows + 1] - 1]
        parts = [np.searchsorted(self._parts, frames, side="right") for frames in (firsts, lasts)]
        self.is_cut[rows] = (lasts < 0) | (parts[0] != parts[1])
        cut = np.flatnonzero(self.is_cut)
        ends = starts[cut + 1] - 1
        for track, end in zip(cut.tolist(), ends.tolist(), strict=True):
            self._told_ends[track] = self._told[end]
        stays = np.ones(len(self._frames), dtype=np.bool_)
        stays[ends] = False
        self._frames = self._frames[stays]
        self._told = array("i", np.frombuffer(self._told, dtype=np.int32)[stays].tobytes())
        self._outside = bytearray(np.frombuffer(self._outside, dtype=np.uint8)[stays].tobytes())
        self._starts = array("q", (starts - np.concatenate([[0], np.cumsum(self.is_cut)])).tobytes())

    def see(self, track: int, frame: int, table: int) -> None:
        """A row of a track shows this frame. Those of one table come in their order."""
        first, stop = self._starts[track], self._starts[track + 1]
        at = first + int(np.searchsorted(self._frames[first:stop], frame, side="right")) - 1
        last_table, last_frame = self._last[track].tolist()
        if at < first or self._outside[at] or (last_table == table and frame < last_frame):
            self._is_off[track] = True
        elif frame > self._frames[at] and (last_table, last_frame) != (table, frame):
            self._rows[at] += 1
        self._last[track] = table, frame

    def are_off(self, is_listed: Mask, first: int) -> tuple[Mask, Mask]:
        """(N,) tracks that do not show what their rows say, and (N,) those that go from key frame to key frame over
        other numbers of frames than they did.

        Args:
            is_listed: (frames,) of each frame, from number `first` on, whether the archive lists it.
        """
        if not len(self._frames):
            return self._is_off, np.zeros(len(self), dtype=np.bool_)
        starts = np.array(self._starts, dtype=np.int64)
        owners = np.repeat(np.arange(len(self)), np.diff(starts))  # (K,)
        has_next = np.append(owners[1:] == owners[:-1], False)
        following = np.arange(len(owners)) + has_next
        stop = first + len(is_listed)
        edges = np.append(self._parts, stop)
        ends = edges[np.searchsorted(edges[:-1], self._frames, side="right").clip(max=len(edges) - 1)]
        ends = np.where(has_next, self._frames[following], ends)
        told = np.array(self._told, dtype=np.int64)
        told_ends = np.where(has_next, told[following], np.array(self._told_ends, dtype=np.int64)[owners])
        differs = (told != UNKNOWN) & (ends - self._frames != told_ends - told)
        before = np.concatenate([[0], np.cumsum(is_listed)])
        places = [(edge - first).clip(0, len(is_listed)) for edge in (self._frames + 1, ends)]
        n_listed = np.maximum(before[places[1]] - before[places[0]], 0)
        is_shown = ~np.frombuffer(self._outside, dtype=np.bool_)
        # Between key frames each place counts; behind the last one only whether something is shown that had no row.
        is_wrong = differs & is_shown & np.where(has_next, (self._rows > 0) | (n_listed > 0), self._rows < n_listed)
        is_wrong |= (self._frames < 0) | (has_next & (ends <= self._frames))
        changed = np.zeros(len(self), dtype=np.bool_)
        changed[owners[is_wrong]] = True
        return self._is_off | changed, changed


def _way_of(told: Any, n: int) -> list[int]:
    """`n` ascending numbers, where these are such."""
    is_way = (
        isinstance(told, list)
        and len(told) == n
        and all(type(number) is int and 0 <= number < _MOST for number in told)
        and told == sorted(told)
    )
    return told if is_way else [UNKNOWN] * n
