"""JSON Logic against a plain twin: every operator with every field of every list, and random expressions of them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from app.storage import Storage, Task, tokens, users
from tests.api.conftest import TestClient, created

Item = dict[str, Any]
Logic = dict[str, Any]

OWNER = {"owner": "owner.username", "assignee": "assignee.username"}
FIELDS: dict[str, dict[str, str]] = {
    "tasks": {
        name: name
        for name in ("id", "name", "project_id", "project_name", "status", "subset", "mode", "dimension", "media_type",
                     "validation_mode", "updated_date")
    } | OWNER | {"tracker_link": "bug_tracker"},
    "projects": {name: name for name in ("id", "name", "status", "updated_date")} | OWNER,
    "jobs": {
        name: name
        for name in ("id", "task_id", "task_name", "project_id", "project_name", "state", "stage", "dimension", "mode",
                     "media_type", "type", "parent_job_id", "updated_date")
    } | {"assignee": "assignee.username"},
    "labels": {name: name for name in ("id", "name", "color", "type", "parent_id")},
    "users": {name: name for name in ("id", "username", "first_name", "last_name")},
    "issues": {"id": "id", "job_id": "job", "frame_id": "frame", "resolved": "resolved"} | OWNER,
    "comments": {"id": "id", "issue_id": "issue", "owner": "owner.username"},
    "auth/access_tokens": {name: name for name in ("id", "name", "read_only", "expiry_date", "created_date")},
}  # fmt: skip
"""List → field of the filter → where the JSON of an entry shows it."""

DATES = ("updated_date", "created_date", "expiry_date")
LESS: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


@pytest.fixture
def lists(client: TestClient, give_data: Callable[..., Task], storage: Storage) -> dict[str, list[Item]]:
    """A few of everything, with gaps: fields that are not set, names that differ by case and by umlauts."""
    with storage.database.write() as conn:
        ann = users.create(conn, "ann", None, first_name="Änn", last_name="O'Neil")
        bob = users.create(conn, "Bob", None, first_name="bob", last_name="100%_")
    first = created(client, "/api/projects", name="Über", labels=[{"name": "cat"}, {"name": "Dog", "color": "#ff0000"}])
    created(client, "/api/projects", name="under_score", assignee_id=ann.id)
    tasks = [
        created(client, "/api/tasks", name="Äpfel", project_id=first["id"], subset="train", owner_id=bob.id),
        created(client, "/api/tasks", name="äpfel 2", labels=[{"name": "x", "type": "rectangle"}], assignee_id=ann.id),
        created(client, "/api/tasks", name='quote " and \\', bug_tracker="http://bugs/100%_sure"),
    ]
    for task in tasks[:2]:
        give_data(task["id"], 4, segment_size=2)
    job_ids = [job["id"] for job in client.get("/api/jobs").json()["results"]]
    client.patch(f"/api/jobs/{job_ids[0]}", json={"stage": "validation", "assignee": bob.id})
    client.patch(f"/api/jobs/{job_ids[1]}", json={"state": "in progress"})
    for job in job_ids[:2]:
        frame = client.get(f"/api/jobs/{job}").json()["start_frame"]
        created(client, "/api/issues", job=job, frame=frame, position=[1, 2], message="m", resolved=job == job_ids[0])
    client.patch("/api/issues/1", json={"assignee": ann.id})
    admin = client.get("/api/users/self").json()["id"]
    with storage.database.write() as conn:
        tokens.create(conn, admin, "ci", read_only=True)
        tokens.create(conn, admin, "CI 2", expiry_date=datetime.fromisoformat("2099-01-01T00:00:00Z"))
    return {name: client.get(f"/api/{name}?page_size=all").json()["results"] for name in FIELDS}


def value_of(item: Item, path: str) -> Any:
    found: Any = item
    for part in path.split("."):
        found = found[part] if found is not None else None
    return datetime.fromisoformat(found) if path in DATES and found is not None else found


def told(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return json.dumps(value) if isinstance(value, bool) else str(value)


def holds(logic: Logic, item: Item, paths: dict[str, str]) -> bool | None:
    """The slow twin. None is SQL's unknown: a comparison with what is not there, which no `not` makes true."""
    ((operator, operands),) = logic.items()
    if operator == "var":
        return value_of(item, paths[operands]) is not None
    if operator in ("!", "!!"):
        inner = holds(operands[0] if isinstance(operands, list) else operands, item, paths)
        return inner if operator == "!!" else not inner
    if operator in ("and", "or"):
        parts = [bool(holds(part, item, paths)) for part in operands]
        return all(parts) if operator == "and" else any(parts)
    if operator == "in" and isinstance(operands[1], list):
        found = value_of(item, paths[operands[0]["var"]])
        return found is not None and found in [parsed(operands[0]["var"], each) for each in operands[1]]
    if operator == "in":
        found = value_of(item, paths[operands[1]["var"]])
        return found is not None and operands[0].lower() in told(found).lower()
    if len(operands) == 3:
        name = operands[1]["var"]
        found = value_of(item, paths[name])
        return found is not None and parsed(name, operands[0]) <= found <= parsed(name, operands[2])
    name = operands[0]["var"]
    found = value_of(item, paths[name])
    if operator == "==":
        return found == parsed(name, operands[1])
    return found is not None and LESS[operator](found, parsed(name, operands[1]))


def parsed(name: str, value: Any) -> Any:
    return datetime.fromisoformat(value) if name in DATES and value is not None else value


def simple(name: str, values: list[Any], random: random.Random) -> list[Logic]:
    """Every operator with this field, on values that there are and one that there is not."""
    var = {"var": name}
    value, other = random.choice(values), random.choice(values)
    made: list[Logic] = [
        var,
        {"!": var},
        {"!": [var]},
        {"!!": [var]},
        {"==": [var, value]},
        {"==": [var, None]},
        {"!": {"==": [var, value]}},
        {"in": [var, [value, other]]},
        {"in": [var, []]},
        {"<=": [min(value, other), var, max(value, other)]},
        *({operator: [var, value]} for operator in LESS),
    ]
    text = told(value)
    made.append({"in": [text[14:17] if name in DATES else text[1:3].swapcase(), var]})
    return made


def anything(leaves: list[Logic], depth: int, random: random.Random) -> Logic:
    if depth == 0:
        return random.choice(leaves)
    operator = random.choice(["and", "or", "!", "!!"])
    if operator in ("!", "!!"):
        return {operator: anything(leaves, depth - 1, random)}
    return {operator: [anything(leaves, depth - 1, random) for _ in range(random.randint(1, 3))]}


@pytest.mark.parametrize("name", FIELDS)
def test_filters_find_what_the_twin_finds(client: TestClient, lists: dict[str, list[Item]], name: str) -> None:
    chance = random.Random(name)
    items, paths = lists[name], FIELDS[name]
    assert items
    leaves: list[Logic] = []
    for field, path in paths.items():
        values = [item for item in (value_of(item, path) for item in items) if item is not None]
        texts = [each.isoformat() if isinstance(each, datetime) else each for each in values]
        missing: Any = {"id": 0}.get(field, "2000-01-01T00:00:00+00:00" if field in DATES else "no such")
        if field.endswith("_id") or (texts and isinstance(texts[0], int)):
            missing = 987654
        if texts and isinstance(texts[0], bool):
            missing = not texts[0]
        leaves += simple(field, [*texts, missing], chance)
    for logic in [*leaves, *(anything(leaves, chance.randint(1, 3), chance) for _ in range(20))]:
        answer = client.get(f"/api/{name}", params={"filter": json.dumps(logic), "page_size": "all"})
        assert answer.status_code == 200, (logic, answer.text)
        found = sorted(item["id"] for item in answer.json()["results"])
        assert found == sorted(item["id"] for item in items if holds(logic, item, paths)), logic


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_sorts_both_ways(client: TestClient, lists: dict[str, list[Item]], name: str) -> None:
    for field, path in FIELDS[name].items():
        for sign in ("", "-"):
            answer = client.get(f"/api/{name}", params={"sort": sign + field, "page_size": "all"})
            assert answer.status_code == 200, answer.text
            values = [value_of(item, path) for item in answer.json()["results"]]
            given = [value for value in values if value is not None]
            assert given == sorted(given, reverse=bool(sign)), (field, sign)


@pytest.mark.parametrize(
    "text",
    [
        "{", "null", "1", '"x"', "[]", "{}", '{"nope": [1]}', '{"==": [{"var": "nope"}, 1]}', '{"==": [{"var": "id"}]}',
        '{"and": []}', '{"and": {"var": "id"}}', '{"!": []}', '{"in": [1, 2]}', '{"==": [{"var": "id"}, 1], "or": []}',
        '{"var": ["id"]}', '{"==": [{"var": "id"}, [1]]}', '{"<": [{"var": "id"}, null]}', '{"<=": [1, 2, 3]}',
    ],
)  # fmt: skip
def test_what_is_no_filter_is_400(client: TestClient, text: str) -> None:
    for name in FIELDS:
        answer = client.get(f"/api/{name}", params={"filter": text})
        assert answer.status_code == 400, answer.text
        assert answer.json()["code"].startswith("filter.")
