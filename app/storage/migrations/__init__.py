"""The schema's steps, shipped with the package; `migrate` walks them. Start with `versions/`.

Alembic is loaded only where there is a step to walk: a start of an up-to-date process does without it.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from app.errors import Busy, Conflict
from app.storage.database import Connection, Database

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0004"  # the newest step in `versions/`; a test holds the two together

# Any number will do, as long as every version of this program uses the same.
ADVISORY_LOCK = 0x616E6E6F
PATIENCE_SECONDS = 300.0


def config() -> Config:
    """Alembic's settings: our folder, no file, no logging of its own."""
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return made


def current(conn: Connection) -> str | None:
    """The step that the database is at, or None for an empty one."""
    if not sa.inspect(conn).has_table("alembic_version"):
        return None
    return conn.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def is_current(conn: Connection) -> bool:
    """Whether the database is at the newest step."""
    return current(conn) == HEAD


def is_older(conn: Connection) -> bool:
    """Whether it is empty, or at an earlier step; a later one is of a newer version."""
    step = current(conn)
    return step is None or step < HEAD


def migrate(database: Database) -> bool:
    """Create the tables or bring them up to date, one process at a time. Returns whether there was anything to do.

    Raises:
        Conflict: the database was made by a newer version.
        Busy: somebody else has it for longer than any steps take.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        with database.read() as conn:
            if is_current(conn):
                return False
        try:
            return _walk(database)
        except Busy:  # SQLite: another one's steps take longer than a lock is waited for
            if time.monotonic() > deadline:
                raise


def _walk(database: Database) -> bool:
    """All steps that are missing, in one transaction. Returns whether there were any."""
    from alembic import command
    from alembic.script import ScriptDirectory

    settings = config()
    known = {script.revision for script in ScriptDirectory.from_config(settings).walk_revisions()}
    with database.write() as conn:  # SQLite: the write transaction is the lock
        if not database.is_sqlite:
            conn.execute(sa.text("SET LOCAL lock_timeout = 0"))  # another one's steps may take minutes
            conn.execute(sa.select(sa.func.pg_advisory_xact_lock(ADVISORY_LOCK)))
        found = current(conn)
        if found == HEAD:
            return False
        if found is not None and found not in known:
            raise Conflict(f"the database was made by a newer version of this program (schema {found})")
        settings.attributes["connection"] = conn
        command.upgrade(settings, "head")
    return True
