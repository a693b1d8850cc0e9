"""All tables. The migrations make the same (a test compares them); nothing else creates tables.

Moments are microseconds since 1970 in UTC (BIGINT): exact, ordered, equal on both engines. JSON is text.
Annotations and frames are columns of arrays in blocks; `block_codec.py` explains the bytes.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import orjson
import sqlalchemy as sa

from app.annotations import Images, Rows, Shapes, Table, Tags, Tracks

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Moment(sa.types.TypeDecorator[datetime]):
    """An aware datetime as microseconds since 1970."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> int | None:
        return None if value is None else (value - EPOCH) // MICROSECOND

    def process_result_value(self, value: int | None, dialect: Any) -> datetime | None:
        return None if value is None else EPOCH + timedelta(microseconds=value)


class JSONText(sa.types.TypeDecorator[Any]):
    """Any JSON value as text."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> str | None:
        return None if value is None else orjson.dumps(value).decode()

    def process_result_value(self, value: str | None, dialect: Any) -> Any:
        return None if value is None else orjson.loads(value)


# SQLite gives ids of its own to INTEGER primary keys only.
Key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def maker() -> tuple[sa.Column[Any], sa.Column[Any]]:
    """The attempt of a request that is still making it: until it is made, nobody sees it (`unfinished.py`)."""
    return sa.Column("maker_id", sa.String(64), index=True), sa.Column("maker_attempt", sa.BigInteger)


def key() -> sa.Column[int]:
    """A number for each row. Tables whose numbers clients know never use one twice (`sqlite_autoincrement`)."""
    return sa.Column("id", Key, primary_key=True, autoincrement=True)


def reference(name: str, target: str, *, ondelete: str = "CASCADE", nullable: bool = False) -> sa.Column[Any]:
    """A foreign key with an index (both engines want one for deletes)."""
    kind: sa.types.TypeEngine[Any] = sa.String(64) if target in ("uploads.id", "requests.id") else Key
    return sa.Column(name, kind, sa.ForeignKey(target, ondelete=ondelete), nullable=nullable, index=True)


def text(name: str, size: int, default: str | None = "") -> sa.Column[str]:
    return sa.Column(name, sa.String(size), nullable=False, default=default)


def number(name: str, default: int | None = 0) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, default=default)


def flag(name: str, default: bool = False) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean, nullable=False, default=default)


def moment(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, Moment, nullable=nullable)


def array(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=False)


facts = sa.Table("facts", metadata, sa.Column("name", sa.String(64), primary_key=True), sa.Column("value", sa.Text))

users = sa.Table(
    "users",
    metadata,
    key(),
    text("username", 150),
    sa.Column("username_key", sa.String(150), nullable=False, unique=True),
    text("first_name", 150),
    text("last_name", 150),
    text("email", 254),
    flag("is_admin"),
    flag("is_active", True),
    sa.Column("password_hash", sa.String(255)),
    moment("created_date"),
    moment("last_login", nullable=True),
    sqlite_autoincrement=True,
)

login_failures = sa.Table(
    "login_failures",
    metadata,
    key(),
    sa.Column("key", sa.String(64), nullable=False, index=True),
    sa.Column("moment", Moment, nullable=False, index=True),
)

tokens = sa.Table(
    "tokens",
    metadata,
    key(),
    reference("owner_id", "users.id"),
    text("kind", 16),
    text("name", 256),
    text("prefix", 16),
    sa.Column("hash", sa.String(64), nullable=False, unique=True),
    flag("read_only"),
    moment("created_date"),
    moment("updated_date"),
    moment("expiry_date", nullable=True),
    moment("last_used_date", nullable=True),
    sqlite_autoincrement=True,
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("hash", sa.String(64), primary_key=True),
    reference("user_id", "users.id"),
    text("csrf_token", 64),
    moment("created_date"),
    sa.Column("expiry_date", Moment, nullable=False, index=True),
)

projects = sa.Table(
    "projects",
    metadata,
    key(),
    text("name", 256),
    reference("owner_id", "users.id", ondelete="SET NULL", nullable=True),
    reference("assignee_id", "users.id", ondelete="SET NULL", nullable=True),
    moment("assignee_updated_date", nullable=True),
    text("bug_tracker", 2000),
    text("status", 32, "annotation"),
    moment("created_date"),
    moment("updated_date"),
    number("revision"),
    *maker(),
    sqlite_autoincrement=True,
)

tasks = sa.Table(
    "tasks",
    metadata,
    key(),
    text("name", 256),
    reference("project_id", "projects.id", nullable=True),
    text("subset", 64),
    text("bug_tracker", 2000),
    reference("owner_id", "users.id", ondelete="SET NULL", nullable=True),
    reference("assignee_id", "users.id", ondelete="SET NULL", nullable=True),
    moment("assignee_updated_date", nullable=True),
    moment("created_date"),
    moment("updated_date"),
    flag("has_data"),
    text("mode", 16),
    number("size"),
    number("segment_size"),
    number("overlap"),
    number("image_quality", 70),
    number("chunk_size", 72),
    number("start_frame"),
    number("stop_frame"),
    text("frame_filter", 256),
    text("sorting_method", 32, "lexicographical"),
    moment("data_updated_date"),
    array("deleted_frames"),
    number("last_annotation_id"),
    number("revision"),
    *maker(),
    sqlite_autoincrement=True,
)

jobs = sa.Table(
    "jobs",
    metadata,
    key(),
    reference("task_id", "tasks.id"),
    number("start_frame"),
    number("stop_frame"),
    text("stage", 16, "annotation"),
    text("state", 16, "new"),
    reference("assignee_id", "users.id", ondelete="SET NULL", nullable=True),
    moment("assignee_updated_date", nullable=True),
    moment("created_date"),
    moment("updated_date"),
    number("revision"),
    sqlite_autoincrement=True,
)

issues = sa.Table(
    "issues",
    metadata,
    key(),
    reference("job_id", "jobs.id"),
    number("frame", None),
    sa.Column("position", JSONText, nullable=False),
    flag("resolved"),
    reference("owner_id", "users.id", ondelete="SET NULL", nullable=True),
    reference("assignee_id", "users.id", ondelete="SET NULL", nullable=True),
    moment("created_date"),
    moment("updated_date"),
    sqlite_autoincrement=True,
)

comments = sa.Table(
    "comments",
    metadata,
    key(),
    reference("issue_id", "issues.id"),
    reference("owner_id", "users.id", ondelete="SET NULL", nullable=True),
    sa.Column("message", sa.Text, nullable=False),
    moment("created_date"),
    moment("updated_date"),
    sqlite_autoincrement=True,
)

labels = sa.Table(
    "labels",
    metadata,
    key(),
    reference("task_id", "tasks.id", nullable=True),
    reference("project_id", "projects.id", nullable=True),
    reference("parent_id", "labels.id", nullable=True),
    text("name", 64),
    text("color", 16),
    text("type", 16, "any"),
    sa.Column("svg", sa.Text, nullable=False, default=""),
    sqlite_autoincrement=True,
)

attribute_specs = sa.Table(
    "attribute_specs",
    metadata,
    key(),
    reference("label_id", "labels.id"),
    text("name", 64),
    flag("mutable"),
    text("input_type", 16, "text"),
    sa.Column("default_value", sa.Text, nullable=False, default=""),
    sa.Column("values", JSONText, nullable=False),
    sqlite_autoincrement=True,
)

frame_blocks = sa.Table(
    "frame_blocks",
    metadata,
    key(),
    sa.Column("task_id", Key, sa.ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
    sa.Column("block", sa.BigInteger, nullable=False),
    number("n_rows"),
    array("names"),
    array("widths"),
    array("heights"),
    array("packs"),
    array("offsets"),
    array("stored_sizes"),
    array("sizes"),
    array("methods"),
    array("crcs"),
    array("orientations"),
    sa.UniqueConstraint("task_id", "block"),
)

packs = sa.Table(
    "packs",
    metadata,
    sa.Column("task_id", Key, sa.ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("pack", sa.BigInteger, primary_key=True),
    sa.Column("position", sa.BigInteger, primary_key=True),
    sa.Column("key", sa.String(1024), nullable=False, index=True),
    number("size", None),
)

requests = sa.Table(
    "requests",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    text("type", 64),
    text("target", 16),
    reference("task_id", "tasks.id", nullable=True),
    reference("job_id", "jobs.id", nullable=True),
    reference("project_id", "projects.id", nullable=True),
    sa.Column("format", sa.String(256)),
    sa.Column("options", JSONText, nullable=False),
    reference("owner_id", "users.id"),
    text("status", 16, "queued"),
    sa.Column("message", sa.Text, nullable=False, default=""),
    sa.Column("progress", sa.Float),
    number("attempt"),
    number("releases"),
    moment("created_date"),
    moment("queued_date"),
    moment("started_date", nullable=True),
    moment("finished_date", nullable=True),
    sa.Column("expiry_date", Moment, index=True),
    moment("lease_until", nullable=True),
    text("fingerprint", 64),
    sa.Column("result_key", sa.String(1024)),
    sa.Column("result_size", sa.BigInteger),
    sa.Column("result_filename", sa.String(512)),
    sa.Column("result_content_type", sa.String(128)),
    sa.Column("result_id", sa.BigInteger),
    sa.Column("report", JSONText),
    sa.Index("ix_requests_status_queued_date", "status", "queued_date"),
    sa.Index("ix_requests_fingerprint", "fingerprint"),
)

uploads = sa.Table(
    "uploads",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    reference("owner_id", "users.id"),
    text("kind", 16),
    text("target", 16),
    sa.Column("target_id", sa.BigInteger),
    text("filename", 1024),
    number("length"),
    number("offset"),
    sa.Column("parts", JSONText, nullable=False),
    reference("request_id", "requests.id", ondelete="SET NULL", nullable=True),
    moment("created_date"),
    sa.Column("updated_date", Moment, nullable=False, index=True),
)

upload_segments = sa.Table(
    "upload_segments",
    metadata,
    sa.Column("upload_id", sa.String(64), sa.ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("offset", sa.BigInteger, primary_key=True),
    text("key", 1024, None),
    number("size", None),
)

# Bytes that a committed transaction gave up; removed after it (housekeeping.collect).
discarded_blobs = sa.Table(
    "discarded_blobs",
    metadata,
    sa.Column("key", sa.String(1024), primary_key=True),
    sa.Column("not_before", Moment, nullable=False, index=True),
)

# Numbers for metrics (counters.py).
counters = sa.Table(
    "counters",
    metadata,
    sa.Column("name", sa.String(200), primary_key=True),
    sa.Column("value", sa.Float, nullable=False),
)

# state: `writing` (an import at work), `visible`, `dropped` (its blocks go bit by bit).
# The base set of a task holds what was never imported: made by hand or by JSON.
annotation_sets = sa.Table(
    "annotation_sets",
    metadata,
    key(),
    # No foreign key: sets outlive their task until their many blocks have been removed bit by bit.
    sa.Column("task_id", sa.BigInteger, nullable=False, index=True),
    text("state", 16, "writing"),
    flag("is_base"),
    sa.Column("extras", JSONText),
    sa.Column("kept_key", sa.String(1024)),
    number("kept_size"),
    moment("created_date"),
    moment("touched_date"),
    sa.Index("ix_annotation_sets_state", "state"),
    sqlite_autoincrement=True,
)

TABLES_BY_KIND: dict[str, type[Table]] = {
    "shapes": Shapes,
    "tags": Tags,
    "tracks": Tracks,
    "images": Images,
    "rows": Rows,
}


@cache
def block_columns(kind: str) -> tuple[str, ...]:
    """The stored columns of a kind, in order; those of `kept` are prefixed. `kept.sets` is the block's set itself."""
    names: list[str] = []
    for name, column in TABLES_BY_KIND[kind].empty().columns().items():
        if name == "kept":
            names += [f"kept_{inner}" for inner in column.columns() if inner != "sets"]
        else:
            names.append(name)
    return tuple(names)


def _block_table(kind: str) -> sa.Table:
    return sa.Table(
        f"{kind}_blocks",
        metadata,
        key(),
        sa.Column("task_id", sa.BigInteger, nullable=False),
        sa.Column("set_id", sa.BigInteger, nullable=False),
        sa.Column("block", sa.BigInteger, nullable=False),
        sa.Column("part", sa.BigInteger, nullable=False),
        number("n_rows", None),
        *(array(name) for name in block_columns(kind)),
        # One index for both questions: the blocks of a task in order, and those of one set.
        sa.Index(f"ix_{kind}_blocks_task_id_block", "task_id", "block", "set_id", "part", unique=True),
        sa.Index(f"ix_{kind}_blocks_set_id", "set_id"),
    )


BLOCKS = {kind: _block_table(kind) for kind in TABLES_BY_KIND}


def now() -> datetime:
    return datetime.now(UTC)
