"""The database: one engine, two contexts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

Connection = sa.Connection


class Database:
    """SQLite or PostgreSQL behind SQLAlchemy Core.

    read      a read transaction (SQLite: one snapshot)
    snapshot  a read transaction that sees one state on both engines, for exports
    write     a write transaction (SQLite: BEGIN IMMEDIATE), committed at the end of the block, undone by an exception

    Raises (all of them): Busy when the database stays locked for 5 s, NoSpace when the disk is full, Damaged.
    """

    @contextmanager
    def read(self) -> Iterator[Connection]:
        raise NotImplementedError

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        raise NotImplementedError

    @contextmanager
    def write(self) -> Iterator[Connection]:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError
