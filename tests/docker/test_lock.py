"""The lock of the image: everything pinned and hashed, in step with the project, and nothing below a known fix."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "docker" / "requirements.txt"
PIN = re.compile(
    r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)[^\n]*((?:\n +--hash=sha256:[0-9a-f]{64}[^\n]*)*)", re.M
)

FIXED_IN = {
    "starlette": "1.3.1",  # CVE-2026-54283, -48710, 2025-62727, 2025-54121, 2024-47874
    "python-multipart": "0.0.32",  # CVE-2026-53539, -42561, -40347, -24486, 2024-53981, 2024-24762
    "pillow": "12.3",
    "h11": "0.16",  # CVE-2025-43859
}
"""First versions without the known holes (reliability reference, section 12)."""


def pins() -> list[tuple[str, Version, int]]:
    """(name, version, number of hashes) of every pin; some packages have one for each range of Pythons."""
    found = PIN.finditer(LOCK.read_text(encoding="utf-8"))
    return [(match[1].lower().replace("_", "-"), Version(match[2]), match[3].count("--hash=")) for match in found]


def test_every_package_is_pinned_with_its_hashes() -> None:
    text = LOCK.read_text(encoding="utf-8")
    entries = [line for line in text.splitlines() if line and line[0] not in " #"]
    assert len(entries) == len(pins()) > 20
    assert all("==" in line for line in entries), entries
    assert [name for name, _, n_hashes in pins() if not n_hashes] == []
    assert "index-url" not in text
    assert "://" not in text


def test_nothing_is_older_than_its_fix() -> None:
    for name, version, _ in pins():
        assert version >= Version(FIXED_IN.get(name, "0")), name
    assert {"starlette", "python-multipart", "pillow"} <= {name for name, _, _ in pins()}


def test_the_lock_is_in_step_with_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for line in (*project["dependencies"], *project["optional-dependencies"]["postgres"]):
        wanted = Requirement(line)
        locked = [version for name, version, _ in pins() if name == wanted.name.lower().replace("_", "-")]
        assert locked, f"{wanted.name} is not in the lock"
        assert all(wanted.specifier.contains(version) for version in locked), f"{line}: {locked} is locked"
