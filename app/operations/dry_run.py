"""A sink that counts and keeps nothing: for dry runs and for checking an archive without a service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isal import isal_zlib

from app.annotations import Annotations


class CountingSink:
    """Takes everything a reader writes and remembers only how much it was."""

    def __init__(self) -> None:
        self._counts = {"shapes": 0, "tags": 0, "tracks": 0, "images": 0, "rows": 0}
        self._kept_bytes = 0

    def write(self, batch: Annotations) -> None:
        for kind in self._counts:
            self._counts[kind] += len(getattr(batch, kind))

    def keep(self, data: bytes | memoryview) -> tuple[int, int, int]:
        place = self._kept_bytes
        self._kept_bytes += len(data)
        return place, len(data), isal_zlib.crc32(data)

    def extras(self, extras: Mapping[str, Any]) -> None:
        """Nothing is kept."""

    def close(self) -> dict[str, int]:
        """Rows by kind, as `SetWriter.close` gives them."""
        return dict(self._counts)
