"""Nobody but the store and the requests knows in which shape the service runs: no other code asks."""

from __future__ import annotations

import ast
from pathlib import Path

APP = Path(__file__).resolve().parents[1] / "app"
KNOW = ("storage", "requests")
# What an answer would be read from, or asked of.
NAMES = {
    "is_sqlite",
    "dialect",
    "get_backend_name",
    "local_path",
    "FolderBlobs",
    "BucketBlobs",
    "S3Store",
    "LocalStore",
}
WORDS = ("sqlite", "postgres", "s3://", "psycopg", "amazonaws")
SETTINGS = {"database_url", "blob_url", "resolved_queue_url", "queue_url"}
# `background` hands the addresses on, unread; `cli` and `main` hand those of a move on; `settings` declares them.
MAY_NAME_ADDRESSES = {"background.py", "settings.py", "cli.py"}


def files() -> list[Path]:
    found = [path for path in APP.rglob("*.py") if path.relative_to(APP).parts[0] not in KNOW]
    assert len(found) > 50
    return found


def questions(path: Path) -> list[str]:
    """Places that look as if they asked. Docstrings and texts for people are not code that decides."""
    tree = ast.parse(path.read_text())
    found = []
    for node in ast.walk(tree):
        name = {ast.Attribute: "attr", ast.Name: "id", ast.arg: "arg"}.get(type(node))
        said = getattr(node, name) if name else ""
        if said in NAMES or (said in SETTINGS and path.name not in MAY_NAME_ADDRESSES):
            found.append(f"{path.name}:{node.lineno}: {said}")
        if isinstance(node, ast.Compare | ast.Call | ast.Subscript | ast.If):
            for inner in ast.iter_child_nodes(node):
                if isinstance(inner, ast.Constant) and isinstance(inner.value, str) and " " not in inner.value:
                    found += [f"{path.name}:{node.lineno}: {word}" for word in WORDS if word in inner.value.lower()]
        if isinstance(node, ast.If | ast.IfExp | ast.BoolOp | ast.Match) and path.name in MAY_NAME_ADDRESSES:
            decided = node.test if isinstance(node, ast.If | ast.IfExp) else node
            read = {each.attr for each in ast.walk(decided) if isinstance(each, ast.Attribute)} & SETTINGS
            if read and path.name != "settings.py":
                found.append(f"{path.name}:{node.lineno}: decides by {read}")
    return found


def test_nobody_else_asks() -> None:
    assert [question for path in files() for question in questions(path)] == []


def test_the_store_itself_would_be_found() -> None:
    assert questions(APP / "storage" / "database.py")
    assert questions(APP / "storage" / "blobs.py")
    assert questions(APP / "requests" / "queue.py")
