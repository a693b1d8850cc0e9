"""What waits on disk: where, and no longer than its owner."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from app.spools import SPOOL_BYTES, keep_temporary_files, spool_of


class Owner:
    """Of a spool."""


def test_spools_lie_in_the_folder_that_was_said_and_end_with_their_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", os.fspath(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    folder = tmp_path / "tmp"
    keep_temporary_files(folder)
    assert os.environ["TMPDIR"] == os.fspath(folder)
    owner = Owner()
    file = spool_of(owner)
    file.write(bytes(SPOOL_BYTES + 1))
    assert os.readlink(f"/proc/self/fd/{file.fileno()}").startswith(os.fspath(folder))
    assert list(folder.iterdir()) == []
    del owner
    assert file.closed
