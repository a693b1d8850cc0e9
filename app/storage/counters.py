"""Numbers that only grow, for metrics: kept as rows, so that any process may count and any may be asked.

A count shares its transaction with what it counts; it is the last thing of it, and names come in order, so that two
transactions never wait for each other in a circle. A name is the metric and the values of its labels, joined by `|`.
"""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from app.storage.database import Connection, insert_or_not
from app.storage.schema import counters

SECONDS_STEPS = (0.1, 0.5, 1, 5, 15, 60, 300, 1800)


def add(conn: Connection, amounts: Mapping[tuple[str, ...], float]) -> None:
    """Add to counters; one that is not there yet begins at 0."""
    rows = [{"name": "|".join(name), "value": float(amount)} for name, amount in sorted(amounts.items()) if amount]
    if not rows:
        return
    insert = insert_or_not(conn, counters)
    grown = {"value": counters.c.value + insert.excluded.value}
    conn.execute(insert.on_conflict_do_update(index_elements=["name"], set_=grown), rows)


def read(conn: Connection) -> dict[tuple[str, ...], float]:
    """All of them."""
    rows = conn.execute(sa.select(counters.c.name, counters.c.value).order_by(counters.c.name)).all()
    return {tuple(row.name.split("|")): row.value for row in rows}


def of_seconds(name: str, label: str, seconds: float) -> dict[tuple[str, ...], float]:
    """One observation of a histogram: its sum, its count and the first step that it fits into."""
    step = next((step for step in SECONDS_STEPS if seconds <= step), None)
    bucket = "+Inf" if step is None else str(step)
    return {(f"{name}_sum", label): seconds, (f"{name}_count", label): 1, (f"{name}_bucket", label, bucket): 1}
