"""Lists: pages, links, search, sort, equality, filter."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from app.api.listing import parse_listing
from app.errors import InvalidInput, NotFound
from tests.api.conftest import TestClient, created


@pytest.fixture
def tasks(client: TestClient) -> list[int]:
    """Ids of tasks named t0 … t11 in subsets a and b."""
    return [created(client, "/api/tasks", name=f"t{n}", subset="ab"[n % 2])["id"] for n in range(12)]


def names(client: TestClient, **query: Any) -> list[str]:
    answer = client.get("/api/tasks", params={"page_size": "all", **query})
    assert answer.status_code == 200, answer.text
    return [task["name"] for task in answer.json()["results"]]


def test_pages_are_of_ten_newest_first(client: TestClient, tasks: list[int]) -> None:
    first = client.get("/api/tasks").json()
    assert first["count"] == 12
    assert [task["name"] for task in first["results"]] == [f"t{n}" for n in range(11, 1, -1)]
    assert first["previous"] is None
    second = client.get("/api/tasks", params={"page": 2}).json()
    assert [task["name"] for task in second["results"]] == ["t1", "t0"]
    assert second["next"] is None


def test_links_are_absolute_and_keep_the_query(client: TestClient, tasks: list[int]) -> None:
    page = client.get("/api/tasks/?page_size=5&page=2&search=t&org=").json()
    following = urlsplit(page["next"])
    assert (following.scheme, following.netloc, following.path) == ("http", "localhost", "/api/tasks")
    assert parse_qs(following.query) == {"page_size": ["5"], "page": ["3"], "search": ["t"]}
    assert client.get(page["next"]).json()["next"] is None
    assert client.get(page["previous"]).json()["previous"] is None


@pytest.mark.parametrize("page", ["3", "0", "-1", "x", "1.5", "99999999999999999999"])
def test_a_page_out_of_range_is_404(client: TestClient, tasks: list[int], page: str) -> None:
    answer = client.get("/api/tasks", params={"page": page})
    assert (answer.status_code, answer.json()["detail"]) == (404, "Invalid page.")


def test_an_empty_list_has_a_first_page(client: TestClient) -> None:
    assert client.get("/api/tasks?page=1").json() == {"count": 0, "next": None, "previous": None, "results": []}


def test_page_size(client: TestClient, tasks: list[int]) -> None:
    assert len(client.get("/api/tasks?page_size=all").json()["results"]) == 12
    assert len(client.get("/api/tasks?page_size=100000").json()["results"]) == 12
    for size in ("x", "0", "-5", "1.5", "9999999999"):
        answer = client.get("/api/tasks", params={"page_size": size})
        assert answer.status_code == 400
        if size != "0":
            told = f'page_size: a whole number from 1 to 999,999,999 is needed, or all; got "{size}"'
            assert answer.json()["detail"] == told


def test_search_sort_and_equality(client: TestClient, tasks: list[int]) -> None:
    assert names(client, search="T1") == ["t11", "t10", "t1"]
    assert names(client, search="T1", sort="id") == ["t1", "t10", "t11"]
    assert names(client, subset="a", sort="-name")[:2] == ["t8", "t6"]
    assert names(client, owner="admin", name="t3") == ["t3"]
    assert names(client, owner="nobody") == []
    assert names(client, id=tasks[4]) == ["t4"]
    assert len(names(client, unknown="x", subset="")) == 12


@pytest.mark.parametrize(
    ("logic", "expected"),
    [
        ({"==": [{"var": "name"}, "t3"]}, ["t3"]),
        ({"and": [{"in": ["t1", {"var": "name"}]}, {"==": [{"var": "subset"}, "a"]}]}, ["t10"]),
        ({"in": [{"var": "name"}, ["t1", "t2"]]}, ["t2", "t1"]),
        ({"!": {"var": "assignee"}}, [f"t{n}" for n in range(11, -1, -1)]),
        ({"var": "assignee"}, []),
    ],
)
def test_filters(client: TestClient, tasks: list[int], logic: dict[str, Any], expected: list[str]) -> None:
    assert names(client, filter=json.dumps(logic)) == expected


@pytest.mark.parametrize(
    "filter_text",
    ["{", "{}", "[]", '{"==": [{"var": "password"}, "x"]}', '{"like": [{"var": "name"}, "x"]}', "NaN", "1"],
)
def test_bad_filters_are_400(client: TestClient, filter_text: str) -> None:
    answer = client.get("/api/tasks", params={"filter": filter_text})
    assert answer.status_code == 400
    assert answer.json()["filter"]


def test_deep_filters_are_400(client: TestClient) -> None:
    text = '{"!": ' * 2000 + '{"var": "name"}' + "}" * 2000
    assert client.get("/api/tasks", params={"filter": text}).status_code in (400, 414)
    text = '{"!": ' * 400 + '{"var": "name"}' + "}" * 400
    assert client.get("/api/tasks", params={"filter": text}).status_code == 400


@pytest.mark.parametrize("sort", ["password", "-", "name;drop", "owner_id"])
def test_unknown_sort_keys_are_400(client: TestClient, sort: str) -> None:
    assert client.get("/api/tasks", params={"sort": sort}).status_code == 400


@pytest.mark.parametrize("path", ["projects", "jobs", "labels", "users", "requests", "tasks", "auth/access_tokens"])
def test_every_list_is_a_page(client: TestClient, path: str) -> None:
    page = client.get(f"/api/{path}?page=1&org=").json()
    assert set(page) == {"count", "next", "previous", "results"}


def test_parsing() -> None:
    query = parse_listing("", "all", "s", "-id", "", {"id": "1"}, 500)
    assert (query.page, query.page_size, query.search, query.sort, query.max_page_size) == (1, 0, "s", "-id", 500)
    with pytest.raises(NotFound, match="Invalid page"):
        parse_listing("0", "", "", "", "", {}, 500)
    with pytest.raises(InvalidInput):
        parse_listing("1", "-5", "", "", "", {}, 500)
