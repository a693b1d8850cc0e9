"""Counters for metrics; on PostgreSQL, blocks are packed by lz4 where the server has it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# Already deflated by us: the server would only spend time on them.
PACKED = ("kept_lines",)


def upgrade() -> None:
    op.create_table(
        "counters",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_counters")),
    )
    conn = op.get_bind()
    if conn.dialect.name != "postgresql":
        return
    known = conn.execute(sa.text("SELECT enumvals FROM pg_settings WHERE name = 'default_toast_compression'")).scalar()
    # The tables of blocks as they are at this step, whatever later steps add.
    columns = conn.execute(
        sa.text(
            "SELECT table_name, column_name FROM information_schema.columns "
            "WHERE table_schema = current_schema() AND data_type = 'bytea' AND table_name LIKE '%\\_blocks'"
        )
    ).all()
    for table, column in columns:
        if column in PACKED:
            op.execute(f'ALTER TABLE "{table}" ALTER COLUMN "{column}" SET STORAGE EXTERNAL')
        elif "lz4" in (known or ()):
            op.execute(f'ALTER TABLE "{table}" ALTER COLUMN "{column}" SET COMPRESSION lz4')
