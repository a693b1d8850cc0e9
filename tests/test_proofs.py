"""The tests that tests/README.md names as proofs exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", (TESTS / "README.md").read_text(encoding="utf-8"))))


def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[name for _, name in NAMED])
def test_a_named_proof_exists(file: str, name: str) -> None:
    path = TESTS / file
    assert path.is_file(), file
    assert name in functions_of(path), f"{file} has no {name}"


def test_all_twenty_losses_have_a_proof() -> None:
    rows = re.findall(r"^\| (\d+) \|.*`[\w/]+\.py::test_\w+` \|$", (TESTS / "README.md").read_text(), re.MULTILINE)
    assert [int(row) for row in rows] == list(range(1, 21))


def test_every_fault_has_a_proof() -> None:
    text = (TESTS / "README.md").read_text(encoding="utf-8").partition("\n## Faults\n")[2].partition("\n## ")[0]
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| fault |")]
    assert len(rows) >= 15
    assert [row for row in rows if not re.search(r"`[\w/]+\.py::test_\w+` \|$", row)] == []
