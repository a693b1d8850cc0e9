"""How much an archive may hold. Numbers of the settings; the defaults are those of the design."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """Limits of one archive; over any of them it is refused as a whole.

    Attributes:
        max_entries: members, folders among them.
        max_member_bytes: unpacked size of one member.
        max_total_bytes: unpacked size of all members.
        max_ratio: unpacked : packed, of a member and of the archive, once `ratio_from_bytes` are passed.
        max_name_bytes, max_component_bytes: UTF-8 length of a whole name, and of one part between slashes.
        max_depth: parts of a name.
    """

    max_entries: int = 250_000
    max_member_bytes: int = 4 << 30
    max_total_bytes: int = 32 << 30
    max_ratio: int = 100
    ratio_from_bytes: int = 64 << 20
    max_name_bytes: int = 1024
    max_component_bytes: int = 255
    max_depth: int = 32
