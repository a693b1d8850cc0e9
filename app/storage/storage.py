"""The two halves of the store in one value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.storage.blobs import Blobs
from app.storage.database import Database


@dataclass(frozen=True)
class Storage:
    """An open store. Safe to share between threads; never carried over a fork."""

    database: Database
    blobs: Blobs

    def close(self) -> None:
        """Give back connections and files."""
        raise NotImplementedError

    def check_health(self) -> None:
        """Write a row and a blob and take them away again.

        Raises:
            Busy, NoSpace, Damaged: what keeps the store from writing.
        """
        raise NotImplementedError


def open_storage(
    database_url: str,
    blob_url: str,
    data_dir: Path,
    *,
    min_free_bytes: int = 512 << 20,
    pool_size: int = 48,
    migrate: bool = True,
) -> Storage:
    """Open (and, with `migrate`, create or bring up to date) the store.

    Args:
        database_url: `sqlite:///path` or `postgresql://…`; "" is `data_dir/annoport.sqlite3`.
        blob_url: `file:///folder` or `s3://bucket/prefix` (credentials from the environment, as S3 tools have them);
            "" is `data_dir/blobs`.
        data_dir: created with mode 0700 where it is missing.
        min_free_bytes: writes of blobs are refused (NoSpace) below this much free disk.
        pool_size: connections; at least the number of threads that use the store at once.

    Raises:
        Damaged: the database file cannot be read; it is left as it is.
        Conflict: the database was made by a newer version.
    """
    raise NotImplementedError
