"""What an operation is given besides its storage: how to tell its progress, and how to end."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from app.archive import ArchiveLimits
from app.storage import Connection, Request, Result, Storage


class Work(Protocol):
    """One attempt at a background request; `requests.Context` is one."""

    report: Mapping[str, Any] | None
    message: str

    @property
    def request(self) -> Request: ...

    @property
    def storage(self) -> Storage: ...

    @property
    def options(self) -> Mapping[str, Any]: ...

    @property
    def result_key(self) -> str: ...

    def progress(self, fraction: float, message: str = "") -> None: ...

    def finishing(
        self,
        *,
        message: str = "",
        report: Mapping[str, Any] | None = None,
        result: Result | None = None,
        result_id: int | None = None,
    ) -> AbstractContextManager[Connection]: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive or a picture may cost; values of the settings."""

    archive: ArchiveLimits = field(default_factory=ArchiveLimits)
    max_rows: int = 20_000_000
    max_field_bytes: int = 16 << 20
    max_columns: int = 256
    max_classes: int = 250_000
    max_subsets: int = 1_000
    max_hierarchy_depth: int = 32
    max_hierarchy_nodes: int = 100_000
    max_mask_pixels: int = 50_000_000
    max_mask_bytes: int = 32 << 20
    max_image_pixels: int = 178_956_970
    max_image_bytes: int = 256 << 20
    max_problems: int = 100
    mask_helpers: int = 0
