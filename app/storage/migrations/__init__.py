"""The schema's steps, shipped with the package; `migrate` walks them. Start with `versions/`."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from app.errors import Conflict
from app.storage.database import Database, translated

# Any number will do, as long as every version of this program uses the same.
ADVISORY_LOCK = 0x616E6E6F


def config() -> Config:
    """Alembic's settings: our folder, no file, no logging of its own."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return made


def is_current(conn: sa.Connection) -> bool:
    """Whether the database is at the newest step."""
    found = MigrationContext.configure(conn).get_current_revision()
    return found == ScriptDirectory.from_config(config()).get_current_head()


def migrate(database: Database) -> bool:
    """Create the tables or bring them up to date, one process at a time. Returns whether there was anything to do.

    Raises:
        Conflict: the database was made by a newer version.
    """
    with database.read() as conn:
        if is_current(conn):
            return False
    scripts = ScriptDirectory.from_config(config())
    with translated(database), database.write() as conn:  # SQLite: the write transaction is the lock
        if not database.is_sqlite:
            conn.execute(sa.select(sa.func.pg_advisory_xact_lock(ADVISORY_LOCK)))
        found = MigrationContext.configure(conn).get_current_revision()
        if found == scripts.get_current_head():
            return False
        if found is not None and found not in {script.revision for script in scripts.walk_revisions()}:
            raise Conflict(f"the database was made by a newer version of this program (schema {found})")
        settings = config()
        settings.attributes["connection"] = conn
        command.upgrade(settings, "head")
    return True
