"""What nobody needs any more goes here: rows first, then bytes."""

from __future__ import annotations

from dataclasses import dataclass

from app.storage.storage import Storage


@dataclass(frozen=True, slots=True)
class Swept:
    """How many of each were removed."""

    requests: int
    uploads: int
    sets: int
    sessions: int
    blobs: int


def sweep(storage: Storage, *, upload_ttl_seconds: int = 86400, orphan_age_seconds: int = 3600) -> Swept:
    """Remove expired requests with their results, uploads without a chunk for `upload_ttl_seconds`, annotation sets
    that were never published, dead sessions and tokens, discarded blobs, and blobs without a row that are older than
    `orphan_age_seconds`. May run anywhere, any time, twice at once."""
    raise NotImplementedError


def collect(storage: Storage) -> int:
    """Remove the blobs that committed transactions discarded (deleted tasks, ended uploads). Cheap; call it after."""
    raise NotImplementedError
