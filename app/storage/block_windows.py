"""A block of more rows than may be held at once, some rows at a time.

    parts     p0   1 1 1 2 2 5          rows of a part are in ascending frames, and parts are bounded
              p1   1 2 2 2 5
    windows   [p0 1 1 1 | p1 1]  [p0 2 2 | p1 2 2 2]  [p0 5 | p1 5], or of frame 2 first [p0 2 2], then [p1 2 2 2]

The rows come in the order in which the whole block would give them: by frame, then by set, part and place in it.
Windows hold whole frames, or some rows of one that is larger. A part is decoded for each window that needs some of it,
so what is held is a window and a part. Where parts have rows of many windows, as an import in no order of frames leaves
them, each is decoded once, and its rows wait on disk for their window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from app.annotations import ShapeType
from app.blocks import BLOCK_BITS, FRAMES_A_BLOCK, WaitingTables, frames_of
from app.columns import among
from app.storage.block_rows import (
    LATER,
    Placed,
    columns_of,
    concatenate_placed,
    cut_column,
    decode_column,
    decode_rows,
    fetch_blocks,
    in_frame_order,
    read_column,
)
from app.storage.block_steps import STEP_BYTES, large_bytes
from app.storage.database import Connection
from app.storage.schema import BLOCKS, annotation_sets

Cuts = Literal["never", "plain", "anywhere"]
"""Where frames may be cut: of `plain`, tags, kept rows, and frames that have nothing but points and upright boxes in no
group, which have nothing to do with each other."""

PLAIN_TYPES = (ShapeType.RECTANGLE, ShapeType.POINTS)

LARGE_SHARE = 2.0
"""What has more than so many windows is cut."""

KEPT_PARTS = 4
"""So many parts are remembered at most."""

MOST_READINGS = 4
"""So often a part may be decoded for windows, on average; to write its rows down and read them takes about as long."""

Counts = npt.NDArray[np.int64]
Part = tuple[int, int]
"""Set id and number."""
Piece = tuple[Part, int, int]
"""Rows of a part: the part, start and stop."""


def read_windows(
    conn: Connection,
    kind: str,
    task_id: int,
    number: int,
    *,
    start: int,
    stop: int,
    cuts: Cuts,
    with_kept: bool = True,
    lazy: bool = False,
    most_rows: int,
    most_bytes: int = STEP_BYTES,
) -> Iterator[Any]:
    """The rows of frames start to stop in one block, as tables of about `most_rows` rows or `most_bytes` of outlines,
    or of one frame that may not be cut. `cuts`, `lazy` and `with_kept` as in `annotations.iterate`."""
    block = _Block(conn, kind, task_id, number, with_kept, LATER.get(kind, ()) if lazy else ())
    windows = list(_windows(block, start, stop, cuts, most_rows, most_bytes))
    n_parts = len({part for pieces in windows for part, _, _ in pieces})
    if sum(map(len, windows)) > MOST_READINGS * n_parts:
        yield from _read_once(block, windows)
        return
    for pieces in windows:
        block.keep({part for part, _, _ in (pieces if len(pieces) <= KEPT_PARTS else pieces[-1:])})
        placed = [block.read(piece) for piece in pieces]
        yield in_frame_order(concatenate_placed(placed)).table


def _read_once(block: _Block, windows: Sequence[Sequence[Piece]]) -> Iterator[Any]:
    """The windows, of parts that are read once."""
    pieces_of: dict[Part, list[tuple[int, int, int]]] = {}
    for window, pieces in enumerate(windows):
        for part, start, stop in pieces:
            pieces_of.setdefault(part, []).append((window, start, stop))
    waiting = WaitingTables()
    for part in sorted(pieces_of):
        table = block.load(part).table
        window_of = np.full(len(table), -1, dtype=np.int64)
        for window, start, stop in pieces_of[part]:
            window_of[start:stop] = window
        waiting.add(table, window_of)
    for window in range(len(windows)):
        tables = list(waiting.read(window))
        table = type(tables[0]).concatenate(tables)
        yield table.take(np.argsort(frames_of(table), kind="stable"))


class _Block:
    """A block of one kind. Remembers few parts of the last window: the next one often goes on with them."""

    def __init__(
        self, conn: Connection, kind: str, task_id: int, number: int, with_kept: bool, later: Sequence[str]
    ) -> None:
        self.conn, self.kind, self.task_id, self.number = conn, kind, task_id, number
        self._with_kept, self._later = with_kept, later
        self._names = [name for name in columns_of(kind, with_kept=with_kept) if name not in later]
        self._kept: set[Part] = set()
        self._known: dict[Part, Placed] = {}

    def fetch(self, part: Part, names: Sequence[str]) -> Sequence[Any]:
        """Columns of one part."""
        return fetch_blocks(self.conn, self.kind, self.task_id, names, **self._key(part))

    def keep(self, parts: set[Part]) -> None:
        """Remember these parts from now on, and no others."""
        self._kept = parts
        self._known = {part: placed for part, placed in self._known.items() if part in parts}

    def read(self, piece: Piece) -> Placed:
        """The rows of a piece. If its part is not to be remembered, they hold nothing of the rest of it."""
        part, start, stop = piece
        if part not in self._known:
            if part not in self._kept:
                return self.load(part, (start, stop))
            self._known[part] = self.load(part)
        return self._known[part].take(np.arange(start, stop, dtype=np.int64))

    def load(self, part: Part, cut: tuple[int, int] | None = None) -> Placed:
        """The rows of a part, or those from start to stop, which hold nothing of the rest of it."""
        column = partial(read_column, self.conn, self.kind, self.task_id, **self._key(part))
        later = {
            name: partial(column, name) if cut is None else partial(_cut, partial(column, name), *cut)
            for name in self._later
        }
        rows = self.fetch(part, self._names)
        return decode_rows(self.kind, rows, with_kept=self._with_kept, later=later, cut=cut)

    def _key(self, part: Part) -> dict[str, Any]:
        set_id, number = part
        return {"first": self.number, "last": self.number, "set_id": set_id, "part": number}


def _cut(load: Callable[[], Any], start: int, stop: int) -> Any:
    return cut_column(load(), start, stop)


def _windows(
    block: _Block, start: int, stop: int, cuts: Cuts, most_rows: int, most_bytes: int
) -> Iterator[list[Piece]]:
    """What each window is made of: some whole frames, or a stretch of one that is cut."""
    parts, counts, row_shares, may_cut = _weigh_parts(block, cuts, most_rows, most_bytes)
    first = block.number << BLOCK_BITS
    begins = np.cumsum(counts, axis=1) - counts  # (P, 64): where in its part the rows of a frame begin
    shares = row_shares @ counts  # (64,)
    pieces: list[Piece] = []
    held = 0.0
    for frame in range(max(start - first, 0), min(stop - first, FRAMES_A_BLOCK)):
        of_frame = [
            (parts[at], int(begins[at, frame]), int(begins[at, frame] + counts[at, frame]))
            for at in np.flatnonzero(counts[:, frame]).tolist()
        ]
        is_cut = shares[frame] > LARGE_SHARE and may_cut[frame]
        if pieces and (is_cut or held + shares[frame] > 1):
            yield _joined(pieces)
            pieces, held = [], 0.0
        if is_cut:
            yield from _stretches(of_frame, dict(zip(parts, row_shares.tolist(), strict=True)))
        else:
            pieces += of_frame
            held += float(shares[frame])
    if pieces:
        yield _joined(pieces)


def _stretches(pieces: Sequence[Piece], shares: Mapping[Part, float]) -> Iterator[list[Piece]]:
    """The rows of one frame, as many at a time as fill a window."""
    some: list[Piece] = []
    held = 0.0
    for part, start, stop in pieces:
        row = start
        while row < stop:
            end = min(stop, row + max(1, int((1 - held) / shares[part])))
            some.append((part, row, end))
            held += (end - row) * shares[part]
            row = end
            if held + shares[part] > 1:
                yield some
                some, held = [], 0.0
    if some:
        yield some


def _joined(pieces: Sequence[Piece]) -> list[Piece]:
    """Rows of a part on frames that follow each other are one piece; parts in their order."""
    spans: dict[Part, tuple[int, int]] = {}
    for part, start, stop in pieces:
        spans[part] = (spans[part][0] if part in spans else start, stop)
    return [(part, *spans[part]) for part in sorted(spans)]


def _weigh_parts(
    block: _Block, cuts: Cuts, most_rows: int, most_bytes: int
) -> tuple[list[Part], Counts, npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """The visible parts of a block in their order, how many rows each has on each of the 64 frames (P, 64), what one of
    its rows takes of a window (P,), and which frames may be cut (64,)."""
    table = BLOCKS[block.kind]
    found = block.conn.execute(
        sa.select(table.c.set_id, table.c.part, table.c.n_rows, large_bytes(block.kind))
        .join(annotation_sets, annotation_sets.c.id == table.c.set_id)
        .where(table.c.task_id == block.task_id, table.c.block == block.number, annotation_sets.c.state == "visible")
        .order_by(table.c.set_id, table.c.part)
    ).all()
    counts = np.zeros((len(found), FRAMES_A_BLOCK), dtype=np.int64)
    may_cut = np.ones(FRAMES_A_BLOCK, dtype=np.bool_)
    first = block.number << BLOCK_BITS
    looks_at_shapes = cuts == "plain" and block.kind == "shapes"
    names = ("frames", "types", "groups", "rotations") if looks_at_shapes else ("frames",)
    for at, (set_id, part, n_rows, _) in enumerate(found):
        (stored,) = block.fetch((set_id, part), names)
        frames, *others = (decode_column(block.kind, name, [getattr(stored, name)], [n_rows]) for name in names)
        counts[at] = np.bincount(frames - first, minlength=FRAMES_A_BLOCK)
        if others:
            types, groups, rotations = others
            is_plain = among(types, PLAIN_TYPES) & (groups == 0) & (rotations == 0)
            may_cut[frames[~is_plain] - first] = False
    shares = [1 / max(most_rows, 1) + size / max(n_rows, 1) / max(most_bytes, 1) for _, _, n_rows, size in found]
    return [(int(set_id), int(part)) for set_id, part, *_ in found], counts, np.array(shares), may_cut
