"""What SQLAlchemy makes of a statement, made once in a run.

Each test opens stores of its own, and with them engines, which would each make the same text of the same statement
anew: a fifth of the CPU time of tests that import and export. The services that tests start keep to themselves.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache

KEPT = 4000


def share() -> None:
    """Give all engines that are made from now on one cache, in which engines of a kind find each other's statements."""
    cache: Any = LRUCache(KEPT)
    make = sa.Engine.__init__

    def make_sharing(engine: sa.Engine, *arguments: Any, **options: Any) -> None:
        make(engine, *arguments, **options)
        engine.update_execution_options(compiled_cache=cache)

    def is_alike(dialect: Any, other: object) -> bool:
        """The cache's keys begin with the dialect: what it says depends on its kind and on the server's version."""
        return type(dialect) is type(other) and _version(dialect) == _version(other)

    sa.Engine.__init__ = make_sharing  # type: ignore[method-assign]
    kind: Any
    for kind in (SQLiteDialect_pysqlite, PGDialect_psycopg):
        kind.__eq__, kind.__hash__ = is_alike, lambda dialect: hash(type(dialect))


def _version(dialect: Any) -> Any:
    return getattr(dialect, "server_version_info", None)
