"""Paging, search, sort and the filter language over real rows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import pytest

from app.errors import InvalidInput, NotFound
from app.storage import ListQuery, Storage, User, jobs, labels, projects, requests, tasks, users
from app.storage.listing import MAX_FILTER_DEPTH
from tests.storage.stores import make_task

NAMES = ("alpha", "Beta", "gamma 100%", "delta_1", "ÜBUNG")


@pytest.fixture
def ids(storage: Storage, ann: User, bob: User) -> dict[str, int]:
    found = {}
    with storage.database.write() as conn:
        for index, name in enumerate(NAMES):
            assignee = bob.id if index % 2 else None
            found[name] = tasks.create(conn, ann, name, subset=f"s{index}", assignee_id=assignee).id
    return found


def names(storage: Storage, viewer: User, **query: Any) -> list[str]:
    if isinstance(query.get("filter"), dict):
        query["filter"] = orjson.dumps(query["filter"]).decode()
    with storage.database.read() as conn:
        return [task.name for task in tasks.list_page(conn, viewer, ListQuery(**query)).items]


def var(name: str) -> dict[str, str]:
    return {"var": name}


def test_newest_first_in_pages(storage: Storage, ann: User, ids: dict[str, int]) -> None:
    with storage.database.read() as conn:
        first = tasks.list_page(conn, ann, ListQuery(page_size=2))
        last = tasks.list_page(conn, ann, ListQuery(page_size=2, page=3))
        everything = tasks.list_page(conn, ann, ListQuery(page_size=0, max_page_size=4))
    assert ([task.name for task in first.items], first.count, first.has_next) == (["ÜBUNG", "delta_1"], 5, True)
    assert ([task.name for task in last.items], last.count, last.has_next) == (["alpha"], 5, False)
    assert (len(everything.items), everything.has_next) == (5, False)


@pytest.mark.parametrize(("page", "size"), [(0, 10), (2, 10), (4, 2), (-1, 10)])
def test_pages_out_of_range_are_not_there(
    storage: Storage, ann: User, ids: dict[str, int], page: int, size: int
) -> None:
    with pytest.raises(NotFound, match="Invalid page"):
        names(storage, ann, page=page, page_size=size)


def test_an_empty_list_has_a_first_page(storage: Storage, bob: User) -> None:
    assert names(storage, bob) == []


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"sort": "subset"}, list(NAMES)),
        ({"sort": "-subset"}, list(reversed(NAMES))),
        ({"sort": "assignee,-id"}, ["delta_1", "Beta", "ÜBUNG", "gamma 100%", "alpha"]),
        ({"search": "BETA"}, ["Beta"]),
        ({"search": "übung"}, ["ÜBUNG"]),
        ({"search": "100%"}, ["gamma 100%"]),
        ({"search": "a_1"}, ["delta_1"]),
        ({"search": "a%1"}, []),
        ({"search": "bob"}, ["delta_1", "Beta"]),
        ({"equals": {"subset": "s2"}}, ["gamma 100%"]),
        ({"equals": {"assignee": "bob", "name": "Beta"}}, ["Beta"]),
        ({"equals": {"project_id": "5"}}, []),
        ({"filter": {"==": [var("name"), "alpha"]}}, ["alpha"]),
        ({"filter": {"!": {"==": [var("assignee"), "bob"]}}}, ["ÜBUNG", "gamma 100%", "alpha"]),
        ({"filter": {"!": [{"==": [var("name"), "alpha"]}]}}, ["ÜBUNG", "delta_1", "gamma 100%", "Beta"]),
        ({"filter": {"!!": var("assignee")}}, ["delta_1", "Beta"]),
        ({"filter": {"!": var("assignee")}}, ["ÜBUNG", "gamma 100%", "alpha"]),
        ({"filter": var("assignee")}, ["delta_1", "Beta"]),
        ({"filter": {"==": [var("assignee"), None]}}, ["ÜBUNG", "gamma 100%", "alpha"]),
        ({"filter": {"in": [var("name"), ["alpha", "Beta", "none"]]}}, ["Beta", "alpha"]),
        ({"filter": {"in": ["AMMA", var("name")]}}, ["gamma 100%"]),
        ({"filter": {"and": [{"!!": var("assignee")}, {"==": [var("subset"), "s1"]}]}}, ["Beta"]),
        ({"filter": {"or": [{"==": [var("subset"), "s0"]}, {"==": [var("subset"), "s1"]}]}}, ["Beta", "alpha"]),
        ({"filter": {"==": [var("status"), "annotation"]}, "sort": "id"}, list(NAMES)),
        ({"filter": {"==": [var("dimension"), "3d"]}}, []),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, dict) else "",
)
def test_sort_search_and_filter(
    storage: Storage, ann: User, ids: dict[str, int], query: dict[str, Any], expected: list[str]
) -> None:
    assert names(storage, ann, **query) == expected


def test_numbers_and_moments_compare(storage: Storage, ann: User, ids: dict[str, int]) -> None:
    beta = ids["Beta"]
    assert names(storage, ann, filter={"<": [var("id"), beta]}) == ["alpha"]
    assert names(storage, ann, filter={"<=": [var("id"), beta]}) == ["Beta", "alpha"]
    assert names(storage, ann, filter={"<=": [beta, var("id"), beta + 1]}) == ["gamma 100%", "Beta"]
    assert names(storage, ann, filter={">": [var("id"), beta + 2]}) == ["ÜBUNG"]
    assert names(storage, ann, filter={"in": [var("id"), [beta, beta]]}) == ["Beta"]
    with storage.database.read() as conn:
        moment = tasks.get(conn, ann, beta).updated_date
    later = (moment + timedelta(microseconds=1)).isoformat()
    assert names(storage, ann, filter={"<=": [moment.isoformat(), var("updated_date"), moment.isoformat()]}) == ["Beta"]
    assert "Beta" not in names(storage, ann, filter={">=": [var("updated_date"), later]})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "{}",
        "[]",
        '"x"',
        "null",
        '{"==":[{"var":"password_hash"},"x"]}',
        '{"like":[{"var":"name"},"x"]}',
        '{"==":[{"var":"name"}]}',
        '{"==":["name","x"]}',
        '{"==":[{"var":"id"},"x"]}',
        '{"==":[{"var":"id"},true]}',
        '{"==":[{"var":"id"},99999999999999999999]}',
        '{"==":[{"var":"name"},{"var":"name"}]}',
        '{"==":[{"var":["name"]},"x"]}',
        '{"<":[{"var":"updated_date"},"yesterday"]}',
        '{"in":[{"var":"name"},"x"]}',
        '{"in":["x"]}',
        '{"and":{}}',
        '{"and":[]}',
        '{"and":[{}],"or":[{}]}',
        '{"==":[{"var":"name"},"\\u0000"]}',
        '{"!":' * (MAX_FILTER_DEPTH + 2) + '{"var":"name"}' + "}" * (MAX_FILTER_DEPTH + 2),
        "[" * 100_000,
        '{"in":[{"var":"id"},[' + ",".join(["1"] * 2000) + "]]}",
    ],
    ids=range(25),
)
def test_what_is_no_filter_is_refused(storage: Storage, ann: User, text: str) -> None:
    if text == "":
        assert names(storage, ann, filter="") == []
        return
    with pytest.raises(InvalidInput):
        names(storage, ann, filter=text)


def test_unknown_fields_are_refused_everywhere(storage: Storage, ann: User) -> None:
    for query in ({"sort": "password_hash"}, {"equals": {"x": "1"}}, {"sort": "-"}):
        with pytest.raises(InvalidInput, match="unknown field"):
            names(storage, ann, **query)
    with pytest.raises(InvalidInput):
        names(storage, ann, search="a\x00")


def test_every_field_of_every_list_can_be_asked(storage: Storage, admin: User) -> None:
    make_task(storage, 3)
    values = {"text": "x", "integer": 1, "moment": "2026-01-31T09:30:00Z", "boolean": True}
    with storage.database.read() as conn:
        for module in (tasks, jobs, projects, users, requests, labels):
            for name, field in module.LISTING.fields.items():  # type: ignore[attr-defined]
                query = ListQuery(
                    sort=f"-{name}",
                    search="a",
                    filter=orjson.dumps({"!": {"==": [var(name), values[field.kind]]}}).decode(),
                )
                assert module.list_page(conn, admin, query).page == 1  # type: ignore[attr-defined]
