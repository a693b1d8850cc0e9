"""A result needs no tag of its bytes: it never changes, so its request's id is one."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_column("requests", "result_etag")
