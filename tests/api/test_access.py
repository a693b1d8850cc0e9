"""Deny by default: every route, without credentials, with wrong ones, and as somebody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.routing import APIRoute

from app.api import ROUTERS, pages
from app.api.deps import AnyoneDep, CallerDep, anyone, caller
from app.api.openapi import walk_routes
from app.api.routing import Router, rule_of
from app.storage import RequestDraft, Storage, Task, User, requests
from tests.api.conftest import MakeClient, TestClient, created

OPEN_TO_ALL = {
    ("GET", "/api/openapi.json"),
    ("GET", "/api/server/about"),
    ("POST", "/api/auth/login"),
    ("POST", "/api/auth/logout"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/health/work"),
    # The page itself, its files and the samples are the same for everybody; what they show they ask for like anyone.
    *((method, route.path_format) for route in pages.router.routes for method in route.methods),  # type: ignore[attr-defined]
}
OPEN_TO_ALL |= {("HEAD", path) for method, path in OPEN_TO_ALL if method == "GET"}
"""Every route that answers strangers. Add one here only with a reason in its docstring."""

ROUTES = [
    (method, route.path_format, route)
    for router in ROUTERS
    for route in router.routes
    if isinstance(route, APIRoute)
    for method in sorted(route.methods)
]
# OPTIONS tells constants of the upload protocol, the same for every path: browsers ask without credentials.
# HEAD is GET's twin, behind the same guard: one test looks at all of them.
WALKED = [entry for entry in ROUTES if entry[0] != "OPTIONS" and (entry[0] != "HEAD" or "upload_id" in entry[1])]
CLOSED = [entry for entry in WALKED if (entry[0], entry[1]) not in OPEN_TO_ALL]
FOREIGN = [entry for entry in CLOSED if "{" in entry[1]]


def names(entries: list[tuple[str, str, APIRoute]]) -> list[str]:
    return [f"{method} {path}" for method, path, _ in entries]


def test_the_routes_of_the_app_are_these(client: TestClient) -> None:
    walked = {(method, route.path_format) for route in walk_routes(client.app) for method in route.methods}  # type: ignore[arg-type]
    assert walked == {(method, path) for method, path, _ in ROUTES}
    assert len(ROUTES) > 20


def test_every_rule_is_declared_and_only_the_listed_are_open() -> None:
    rules = {(method, path): rule_of(route.dependant) for method, path, route in ROUTES}
    assert set(rules.values()) == {caller, anyone}
    assert {key for key, rule in rules.items() if rule is anyone and key[0] != "OPTIONS"} == OPEN_TO_ALL


def test_options_tell_nothing_of_a_thing(anonymous: TestClient, things: str) -> None:
    for method, path, _ in ROUTES:
        if method == "OPTIONS":
            known = anonymous.options(concrete(path))
            unknown = anonymous.options(concrete(path).replace("/1", "/987654"))
            known.headers.pop("x-request-id")
            unknown.headers.pop("x-request-id")
            assert (known.status_code, known.headers, known.content) == (204, unknown.headers, unknown.content)


def test_a_route_without_a_rule_cannot_be_made() -> None:
    router = Router()

    def endpoint() -> None: ...

    with pytest.raises(TypeError, match="declare who may call it"):
        router.add_api_route("/forgotten", endpoint)


def test_a_rule_may_stand_deeper_and_the_stricter_one_wins() -> None:
    def deeper(caller: CallerDep) -> None: ...

    from typing import Annotated

    from fastapi import Depends

    def endpoint(_: AnyoneDep, also: Annotated[None, Depends(deeper)]) -> None: ...

    router = Router()
    endpoint.__annotations__ = {"_": AnyoneDep, "also": Annotated[None, Depends(deeper)], "return": None}
    deeper.__annotations__ = {"caller": CallerDep, "return": None}
    router.add_api_route("/x", endpoint)
    route = router.routes[0]
    assert isinstance(route, APIRoute)
    assert rule_of(route.dependant) is caller


def concrete(path: str) -> str:
    """The path with the ids of the admin's things (see `things`)."""
    for name in (
        *("task_id", "job_id", "project_id", "label_id", "user_id", "token_id", "number"),
        *("issue_id", "comment_id"),
    ):
        path = path.replace(f"{{{name}}}", "1")
    return path.replace("{request_id}", "unknown").replace("{upload_id}", "1_" + "0" * 32)


@pytest.mark.parametrize(("method", "path", "route"), CLOSED, ids=names(CLOSED))
def test_no_credentials_are_401(anonymous: TestClient, method: str, path: str, route: APIRoute) -> None:
    answer = anonymous.request(method, concrete(path))
    assert answer.status_code == 401
    assert "www-authenticate" in answer.headers


def test_head_is_closed_where_get_is(anonymous: TestClient) -> None:
    closed = {path for method, path, _ in CLOSED if method == "GET"}
    heads = {path for method, path, _ in ROUTES if method == "HEAD"}
    assert closed <= heads
    assert {anonymous.head(concrete(path)).status_code for path in closed} == {401}


@pytest.mark.parametrize(("method", "path", "route"), CLOSED, ids=names(CLOSED))
def test_wrong_credentials_are_401(anonymous: TestClient, method: str, path: str, route: APIRoute) -> None:
    answer = anonymous.request(method, concrete(path), headers={"Authorization": "Bearer wrong"})
    assert answer.status_code == 401


@pytest.fixture
def things(
    make_client: MakeClient, make_user: Callable[..., User], give_data: Callable[..., Task], storage: Storage
) -> str:
    """Of the admin, each with id 1: a user, a token, a project, a task with data, a job, labels, an issue, a comment; and a request's id."""  # noqa: E501
    admin = make_client("root", is_admin=True)
    created(admin, "/api/projects", name="p", labels=[{"name": "a"}])
    created(admin, "/api/tasks", name="t", labels=[{"name": "b"}])
    give_data(1)
    created(admin, "/api/issues", job=1, frame=0, position=[1, 2], message="look")
    draft = RequestDraft(type="export:dataset", target="task", task_id=1, format="Open Images V6 1.0")
    root = make_user("root")
    with storage.database.write() as conn:
        made, _ = requests.create(conn, root, draft)
    return made.id


@pytest.mark.parametrize(("method", "path", "route"), FOREIGN, ids=names(FOREIGN))
def test_foreign_things_are_as_if_they_were_not(
    make_client: MakeClient, things: str, method: str, path: str, route: APIRoute
) -> None:
    stranger = make_client("stranger")
    target = concrete(path).replace("unknown", things)
    body = {} if route.body_field is not None else None
    # What a caller may well send, so that the answer is about the thing and not about a missing parameter.
    query = {"action": "create", "format": "Open Images V6 1.0", "rq_id": things, "type": "frame", "number": "0"}
    if path.endswith("/annotations") and method in ("GET", "PUT"):
        query = {}
    if path.endswith(("/import", "/export")):
        query = {"format": "Open Images V6 1.0"}
    foreign = stranger.request(method, target, json=body, params=query)
    absent_target = target.replace("/1", "/987654").replace(things, "f" * 32)
    absent = stranger.request(method, absent_target, json=body, params=query)
    assert foreign.status_code in (403, 404) or told_without_looking(foreign), foreign.text
    assert absent.status_code == foreign.status_code
    if method != "HEAD":
        assert absent.json()["detail"].replace("987654", "1") == foreign.json()["detail"]


def told_without_looking(answer: Any) -> bool:
    """Calls that are refused to everybody alike, whatever they name."""
    return answer.status_code == 410 or answer.json()["code"] == "unsupported"


@pytest.mark.parametrize("path", ["tasks", "jobs", "projects", "labels", "requests"])
def test_lists_hold_nothing_foreign(make_client: MakeClient, things: str, path: str) -> None:
    assert make_client("stranger").get(f"/api/{path}").json()["count"] == 0
    assert make_client("root").get(f"/api/{path}").json()["count"] > 0


def test_an_assignee_sees_what_was_assigned(
    make_client: MakeClient, make_user: Callable[..., User], things: str
) -> None:
    helper = make_user("helper")
    assert make_client("root").patch("/api/jobs/1", json={"assignee": helper.id}).status_code == 200
    client = make_client("helper")
    assert client.get("/api/jobs/1").status_code == 200
    assert client.get("/api/labels?job_id=1").json()["count"] == 1
    assert client.get("/api/projects/1").status_code == 404


def test_only_an_admin_may_name_another_owner(make_client: MakeClient, make_user: Callable[..., User]) -> None:
    bob, eve = make_user("bob"), make_user("eve")
    assert make_client("bob").post("/api/tasks", json={"name": "t", "owner_id": eve.id}).status_code == 403
    assert make_client("bob").post("/api/tasks", json={"name": "t", "owner_id": bob.id}).status_code == 201
    made = created(make_client("root", is_admin=True), "/api/projects", name="p", owner_id=eve.id)
    assert made["owner"]["username"] == "eve"


def test_metrics_are_for_admins(make_client: MakeClient) -> None:
    assert make_client("bob").get("/metrics").status_code == 403
    assert make_client("root", is_admin=True).get("/metrics").status_code == 200


def test_a_read_only_token_reads_everything_and_changes_nothing(
    make_client: MakeClient, things: str, storage: Storage
) -> None:
    reader, writer = make_client("root", is_admin=True, read_only=True), make_client("root", is_admin=True)
    for method, path, _ in CLOSED:
        target = concrete(path).replace("unknown", things)
        answer = reader.request(method, target, json={} if method in ("POST", "PUT", "PATCH") else None)
        if method in ("GET", "HEAD") or path.endswith(("/dataset/export", "/backup/export")):
            assert answer.status_code not in (401, 403), (method, path, answer.text)
        else:
            assert answer.status_code == 403, (method, path, answer.text)
            assert "read-only" in answer.json()["detail"]
    for path in ("tasks/1", "projects/1", "jobs/1", "issues/1", "comments/1", f"requests/{things}"):
        assert writer.get(f"/api/{path}").status_code == 200, f"{path} is still there"


def test_an_expired_and_a_revoked_token_are_401(make_client: MakeClient, make_user: Callable[..., User]) -> None:
    ann = make_user("ann", password="secret secret")
    browser = make_client("ann")
    browser.headers.pop("Authorization")
    login = browser.post("/api/auth/login", json={"username": ann.username, "password": "secret secret"})
    csrf = {"X-CSRFToken": login.cookies["csrftoken"], "Origin": "http://localhost"}
    past = "2001-01-01T00:00:00Z"
    old = browser.post("/api/auth/access_tokens", json={"name": "old", "expiry_date": past}, headers=csrf).json()
    new = browser.post("/api/auth/access_tokens", json={"name": "new"}, headers=csrf).json()
    browser.cookies.clear()

    def status(token: dict[str, Any]) -> int:
        headers = {"Authorization": f"Bearer {token['value']}"}
        return int(browser.get("/api/users/self", headers=headers).status_code)

    assert (status(old), status(new)) == (401, 200)
    headers = {"Authorization": f"Bearer {new['value']}"}
    assert browser.delete(f"/api/auth/access_tokens/{new['id']}", headers=headers).status_code == 204
    assert status(new) == 401


@pytest.fixture
def team(
    make_client: MakeClient, make_user: Callable[..., User], give_data: Callable[..., Task]
) -> dict[str, TestClient]:
    """Olga owns project 1 and its task 1, tim has the task, jo a job of it, eve nothing."""
    clients = {name: make_client(name) for name in ("olga", "tim", "jo", "eve")}
    ids = {name: make_user(name).id for name in clients}
    created(clients["olga"], "/api/projects", name="p", labels=[{"name": "a"}])
    created(clients["olga"], "/api/tasks", name="t", project_id=1, assignee_id=ids["tim"])
    created(clients["olga"], "/api/tasks", name="own labels", labels=[{"name": "b"}])
    give_data(1, 4, segment_size=2)
    give_data(2, 2)
    for job in (1, 3):
        assert clients["olga"].patch(f"/api/jobs/{job}", json={"assignee": ids["jo"]}).status_code == 200
    return clients


HANDED_OVER: dict[str, tuple[str, dict[str, Any], dict[str, int]]] = {
    "a task to oneself": ("/api/tasks/1", {"owner_id": "me"}, {"tim": 403, "jo": 404, "eve": 404}),
    "a task to another assignee": ("/api/tasks/1", {"assignee_id": "me"}, {"jo": 404, "eve": 404, "olga": 200}),
    "a task to nobody": ("/api/tasks/1", {"assignee_id": None}, {"tim": 403, "jo": 404, "olga": 200}),
    "a task out of its project": ("/api/tasks/1", {"project_id": None}, {"tim": 403, "jo": 404}),
    "a task's name": ("/api/tasks/1", {"name": "new"}, {"tim": 200, "jo": 404, "olga": 200}),
    "a project": ("/api/projects/1", {"owner_id": "me"}, {"tim": 404, "jo": 404, "eve": 404}),
    "a job to another": ("/api/jobs/1", {"assignee": "me"}, {"eve": 404, "tim": 200, "olga": 200}),
    "a job to nobody": ("/api/jobs/1", {"assignee": None}, {"jo": 403, "eve": 404, "tim": 200}),
    "a job's state": ("/api/jobs/1", {"state": "completed"}, {"jo": 200, "eve": 404}),
    "a label of the project": ("/api/labels/1", {"name": "c"}, {"tim": 403, "jo": 403, "eve": 404, "olga": 200}),
    "a label of a task": ("/api/labels/2", {"name": "d"}, {"tim": 404, "jo": 403, "eve": 404, "olga": 200}),
}


@pytest.mark.parametrize(("path", "body", "expected"), HANDED_OVER.values(), ids=HANDED_OVER)
def test_things_are_handed_over_by_their_owners(
    team: dict[str, TestClient], path: str, body: dict[str, Any], expected: dict[str, int]
) -> None:
    found = {}
    for name in expected:
        me = team[name].get("/api/users/self").json()["id"]
        given = {key: me if value == "me" else value for key, value in body.items()}
        found[name] = team[name].patch(path, json=given).status_code
    assert found == expected


@pytest.mark.parametrize(("path", "expected"), [
    ("/api/tasks/1", {"eve": 404, "jo": 404, "tim": 403, "olga": 204}),
    ("/api/projects/1", {"eve": 404, "jo": 404, "tim": 404, "olga": 204}),
    ("/api/labels/1", {"eve": 404, "jo": 403, "tim": 403, "olga": 204}),
])  # fmt: skip
def test_things_are_removed_by_their_owners(team: dict[str, TestClient], path: str, expected: dict[str, int]) -> None:
    assert {name: team[name].delete(path).status_code for name in expected} == expected


def test_who_has_a_job_works_on_its_frames_alone(team: dict[str, TestClient]) -> None:
    box = {"type": "rectangle", "label_id": 1, "points": [1, 2, 3, 4]}
    jo = team["jo"]
    assert jo.put("/api/jobs/1/annotations", json={"shapes": [{**box, "frame": 0}]}).status_code == 200
    assert jo.put("/api/jobs/1/annotations", json={"shapes": [{**box, "frame": 2}]}).status_code == 400
    assert jo.get("/api/jobs/2/annotations").status_code == 404
    assert jo.get("/api/tasks/1/annotations").status_code == 404
    assert jo.post("/api/tasks/1/dataset/export?format=Open+Images+V6").status_code == 404
    assert [job["id"] for job in jo.get("/api/jobs?sort=id").json()["results"]] == [1, 3]
    assert team["eve"].get("/api/jobs").json()["count"] == 0
