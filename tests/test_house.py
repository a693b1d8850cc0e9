"""The house's own rules, so that one command checks everything: lint, format, types, layers, the written contract."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent

CHECKS = {
    "ruff finds nothing": [sys.executable, "-m", "ruff", "check", "--no-cache", "."],
    "ruff would format nothing": [sys.executable, "-m", "ruff", "format", "--no-cache", "--check", "."],
    "types are strict and whole, and what tests call is called as it is written": [sys.executable, "-m", "mypy"],
    "imports go down the layers": [str(BIN / "lint-imports"), "--no-cache"],
    "the contract is as written": [sys.executable, "-m", "app.cli", "openapi", "--check", "openapi/openapi.json"],
}


@pytest.mark.parametrize("check", CHECKS)
def test_house(check: str) -> None:
    done = subprocess.run(CHECKS[check], cwd=ROOT, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, f"{check}: no\n{done.stdout[-6000:]}{done.stderr[-6000:]}"
