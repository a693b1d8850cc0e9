"""Credentials of every kind, and what becomes of wrong ones."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from http.cookies import SimpleCookie
from typing import Any

import pytest

from app.api import ApiSettings, Services, build_app
from app.api.auth import cookie_lines
from app.api.credentials import BasicMemory
from app.storage import Storage, User, users
from tests.api.conftest import BASE_URL, MakeClient, TestClient, created

MakeUser = Callable[..., User]


def basic(username: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()}


def log_in(client: TestClient, username: str, password: str) -> Any:
    return client.post("/api/auth/login", json={"username": username, "password": password})


# ---- login and logout


def test_login_gives_a_key_and_two_cookies(anonymous: TestClient, make_user: MakeUser) -> None:
    make_user("bob", password="secret")
    answer = log_in(anonymous, "bob", "secret")
    assert answer.status_code == 200
    assert 1 <= len(answer.json()["key"]) <= 40
    assert set(answer.cookies) == {"sessionid", "csrftoken"}
    assert all(value.isalnum() for value in answer.cookies.values())


def test_login_takes_a_name_given_as_email(anonymous: TestClient, make_user: MakeUser) -> None:
    make_user("bob@example.com", password="secret")
    answer = anonymous.post("/api/auth/login", json={"email": "bob@example.com", "password": "secret"})
    assert answer.status_code == 200


@pytest.mark.parametrize("secure", [False, True])
def test_cookies_survive_the_way_the_sdk_reads_them(secure: bool) -> None:
    # The SDK joins all lines with ", " and parses the result as one cookie string.
    jar = SimpleCookie()
    jar.load(", ".join(cookie_lines("abc1", "def2", 600, secure)))
    assert jar["sessionid"].value == "abc1"
    assert jar["csrftoken"].value == "def2"
    assert jar["sessionid"]["httponly"]
    assert bool(jar["sessionid"]["secure"]) is secure


@pytest.mark.parametrize(("username", "password"), [("bob", "wrong"), ("nobody", "secret"), ("bob", ""), ("", "x")])
def test_wrong_login_is_refused_with_one_message(
    anonymous: TestClient, make_user: MakeUser, username: str, password: str
) -> None:
    make_user("bob", password="secret")
    answer = log_in(anonymous, username, password)
    assert answer.status_code == 400
    assert answer.json()["non_field_errors"] == ["wrong user name or password"]
    assert "set-cookie" not in answer.headers


def test_login_body_is_bounded(anonymous: TestClient) -> None:
    assert log_in(anonymous, "bob", "x" * 70_000).status_code == 413


def test_an_inactive_user_cannot_log_in(anonymous: TestClient, make_user: MakeUser, storage: Storage) -> None:
    user = make_user("bob", password="secret")
    with storage.database.write() as conn:
        users.change(conn, user.id, is_active=False)
    assert log_in(anonymous, "bob", "secret").status_code == 400
    assert anonymous.get("/api/users/self", headers=basic("bob", "secret")).status_code == 401


def test_too_many_wrong_passwords_are_429_with_retry_after(services: Services, make_user: MakeUser) -> None:
    make_user("bob", password="secret")
    settings = replace(services.settings, auth_mode="users", login_rate_per_minute=2)
    client = TestClient(build_app(replace(services, settings=settings)), base_url=BASE_URL)
    statuses = [log_in(client, "bob", "wrong").status_code for _ in range(3)]
    assert statuses == [400, 400, 429]
    answer = client.get("/api/users/self", headers=basic("bob", "secret"))
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0


def test_logout_ends_the_session(anonymous: TestClient, make_user: MakeUser) -> None:
    make_user("bob", password="secret")
    csrf = log_in(anonymous, "bob", "secret").cookies["csrftoken"]
    session = dict(anonymous.cookies)
    assert anonymous.get("/api/users/self").json()["username"] == "bob"
    answer = anonymous.post("/api/auth/logout", headers={"X-CSRFToken": csrf})
    assert answer.status_code == 200
    assert "detail" in answer.json()
    cookie = "; ".join(f"{name}={value}" for name, value in session.items())
    anonymous.cookies.clear()
    assert anonymous.get("/api/users/self", headers={"Cookie": cookie}).status_code == 401


def test_logout_ends_the_login_key(anonymous: TestClient, make_user: MakeUser) -> None:
    make_user("bob", password="secret")
    key = log_in(anonymous, "bob", "secret").json()["key"]
    anonymous.cookies.clear()
    header = {"Authorization": f"Token {key}"}
    assert anonymous.get("/api/users/self", headers=header).status_code == 200
    assert anonymous.post("/api/auth/logout", headers=header).status_code == 200
    assert anonymous.get("/api/users/self", headers=header).status_code == 401


def test_logout_is_fine_without_a_session_and_needs_the_csrf_token_of_one(
    anonymous: TestClient, make_user: MakeUser
) -> None:
    assert anonymous.post("/api/auth/logout").status_code == 200
    assert anonymous.post("/api/auth/logout", headers={"Cookie": "sessionid=dead"}).status_code == 200
    assert anonymous.post("/api/auth/logout", headers={"Authorization": "Token dead"}).status_code == 200
    make_user("bob", password="secret")
    log_in(anonymous, "bob", "secret")
    assert anonymous.post("/api/auth/logout").status_code == 403
    assert anonymous.get("/api/users/self").status_code == 200


def test_logout_leaves_access_tokens_alone(make_client: MakeClient) -> None:
    bob = make_client("bob")
    assert bob.post("/api/auth/logout").status_code == 200
    assert bob.get("/api/users/self").status_code == 200


# ---- sessions and CSRF


def test_unsafe_methods_of_a_session_need_its_csrf_token(anonymous: TestClient, make_user: MakeUser) -> None:
    make_user("bob", password="secret")
    csrf = log_in(anonymous, "bob", "secret").cookies["csrftoken"]
    for header in ({}, {"X-CSRFToken": "x" * len(csrf)}, {"X-CSRFToken": csrf[:-1]}):
        answer = anonymous.post("/api/tasks", json={"name": "t"}, headers=header)
        assert answer.status_code == 403
        assert answer.json()["code"] == "access.csrf"
    assert anonymous.post("/api/tasks", json={"name": "t"}, headers={"X-CSRFToken": csrf}).status_code == 201
    assert anonymous.get("/api/tasks").status_code == 200


def test_a_foreign_csrf_token_does_not_fit(anonymous: TestClient, make_user: MakeUser) -> None:
    make_user("bob", password="secret")
    make_user("eve", password="secret")
    csrf_of_eve = log_in(anonymous, "eve", "secret").cookies["csrftoken"]
    anonymous.cookies.clear()
    session_of_bob = log_in(anonymous, "bob", "secret").cookies["sessionid"]
    anonymous.cookies.clear()
    # Somebody who can plant the csrftoken cookie still does not know the one that belongs to the session.
    headers = {"Cookie": f"sessionid={session_of_bob}; csrftoken={csrf_of_eve}", "X-CSRFToken": csrf_of_eve}
    assert anonymous.post("/api/tasks", json={"name": "t"}, headers=headers).status_code == 403


@pytest.mark.parametrize("value", ["", "x", "A" * 32, "../..", "a" * 10_000])
def test_a_session_that_is_none_is_401(anonymous: TestClient, value: str) -> None:
    answer = anonymous.get("/api/users/self", headers={"Cookie": f"sessionid={value}"})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


# ---- headers


@pytest.mark.parametrize(
    "value",
    [
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Token wrong",
        "Token é",
        "Basic",
        "Basic !!!",
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic " + base64.b64encode(b"\xff:\xff").decode(),
        "Digest x",
        "Bearer " + "x" * 5000,
    ],
)
@pytest.mark.parametrize("mode", ["local", "users"])
def test_wrong_credentials_in_a_header_are_401_in_every_mode(
    client: TestClient, anonymous: TestClient, mode: str, value: str
) -> None:
    chosen = client if mode == "local" else anonymous
    answer = chosen.get("/api/users/self", headers={"Authorization": value.encode()})
    assert answer.status_code == 401
    assert "detail" in answer.json()


def test_basic_asks_for_the_password_once(
    anonymous: TestClient, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_user("bob", password="secret")
    calls: list[str] = []
    real = users.authenticate

    def counted(*given: Any, **more: Any) -> User:
        calls.append(given[1])
        return real(*given, **more)

    monkeypatch.setattr(users, "authenticate", counted)
    for _ in range(3):
        assert anonymous.get("/api/users/self", headers=basic("bob", "secret")).json()["username"] == "bob"
    assert calls == ["bob"]
    assert anonymous.get("/api/users/self", headers=basic("bob", "Secret")).status_code == 401


def test_basic_ends_at_once_for_a_user_who_is_switched_off(
    anonymous: TestClient, make_user: MakeUser, storage: Storage
) -> None:
    user = make_user("bob", password="secret")
    assert anonymous.get("/api/users/self", headers=basic("bob", "secret")).status_code == 200
    with storage.database.write() as conn:
        users.change(conn, user.id, is_active=False)
    assert anonymous.get("/api/users/self", headers=basic("bob", "secret")).status_code == 401


def test_basic_memory_is_bounded_forgets_and_holds_no_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = BasicMemory(ttl_seconds=60, size=2)
    for number in range(3):
        memory.remember(f"user{number}", "password", number)
    assert [memory.find(f"user{number}", "password") for number in range(3)] == [None, 1, 2]
    assert memory.find("user1", "other") is None
    assert "password" not in repr(vars(memory))
    monkeypatch.setattr("time.monotonic", lambda: 1e12)
    assert memory.find("user1", "password") is None


def test_basic_takes_colons_and_letters_of_any_script_in_passwords(anonymous: TestClient, make_user: MakeUser) -> None:
    make_user("bob", password="pä:ss")
    assert anonymous.get("/api/users/self", headers=basic("bob", "pä:ss")).status_code == 200


# ---- local mode


def test_local_mode_needs_no_credentials(client: TestClient) -> None:
    record = client.get("/api/users/self").json()
    assert record["username"] == "admin"
    assert record["is_superuser"] is True


@pytest.mark.parametrize("password", ["", "anything"])
def test_local_admin_without_a_password_takes_any(client: TestClient, password: str) -> None:
    assert log_in(client, "admin", password).status_code == 200
    assert client.get("/api/users/self", headers=basic("admin", password)).status_code == 200


def test_local_admin_with_a_password_needs_it(client: TestClient, storage: Storage) -> None:
    with storage.database.write() as conn:
        admin = users.ensure_local_admin(conn)
        users.set_password(conn, admin.id, "secret")
    assert log_in(client, "admin", "anything").status_code == 400
    assert log_in(client, "admin", "secret").status_code == 200
    assert client.get("/api/users/self", headers=basic("admin", "anything")).status_code == 401


def test_a_passwordless_admin_is_nobody_where_everybody_logs_in(anonymous: TestClient, storage: Storage) -> None:
    with storage.database.write() as conn:
        users.ensure_local_admin(conn)
    assert log_in(anonymous, "admin", "").status_code == 400
    assert anonymous.get("/api/users/self", headers=basic("admin", "")).status_code == 401
    assert anonymous.get("/api/users/self").status_code == 401


def test_other_users_of_local_mode_need_their_password(client: TestClient, make_user: MakeUser) -> None:
    make_user("bob", password="secret")
    make_user("tokens_only")
    assert client.get("/api/users/self", headers=basic("bob", "wrong")).status_code == 401
    assert client.get("/api/users/self", headers=basic("bob", "secret")).json()["username"] == "bob"
    assert client.get("/api/users/self", headers=basic("tokens_only", "")).status_code == 401


def test_a_dead_session_in_local_mode_counts_as_none(client: TestClient) -> None:
    answer = client.get("/api/users/self", headers={"Cookie": "sessionid=abcdef"})
    assert answer.json()["username"] == "admin"


# ---- access tokens


def test_access_tokens_from_birth_to_end(anonymous: TestClient, make_user: MakeUser) -> None:
    make_user("bob", password="secret")
    login = basic("bob", "secret")
    made = anonymous.post("/api/auth/access_tokens", json={"name": "ci", "expiry_date": None}, headers=login)
    assert made.status_code == 201
    token = made.json()
    bearer = {"Authorization": f"Bearer {token['value']}"}
    assert token["owner"]["username"] == "bob"

    own = anonymous.get("/api/auth/access_tokens/self", headers=bearer)
    assert own.json()["name"] == "ci"
    assert "value" not in own.json()
    listed = anonymous.get("/api/auth/access_tokens", headers=login).json()
    assert [entry["id"] for entry in listed["results"]] == [token["id"]]
    assert "value" not in listed["results"][0]

    path = f"/api/auth/access_tokens/{token['id']}"
    assert anonymous.patch(path, json={"name": "new"}, headers=login).json()["name"] == "new"
    assert anonymous.get(path, headers=login).json()["name"] == "new"
    assert anonymous.delete(path, headers=login).status_code == 204
    assert anonymous.get("/api/users/self", headers=bearer).status_code == 401


def test_an_expired_access_token_is_none(anonymous: TestClient, make_user: MakeUser) -> None:
    make_user("bob", password="secret")
    body = {"name": "old", "expiry_date": "2020-01-01T00:00:00Z"}
    made = anonymous.post("/api/auth/access_tokens", json=body, headers=basic("bob", "secret"))
    if made.status_code == 201:
        bearer = {"Authorization": f"Bearer {made.json()['value']}"}
        assert anonymous.get("/api/users/self", headers=bearer).status_code == 401
    else:
        assert made.status_code == 400


def test_a_read_only_token_may_look_and_not_change(make_client: MakeClient) -> None:
    reader = make_client("bob", read_only=True)
    assert reader.get("/api/tasks").status_code == 200
    answer = reader.post("/api/tasks", json={"name": "t"})
    assert answer.status_code == 403
    assert "read-only" in answer.json()["detail"]


def test_an_access_token_cannot_make_or_change_tokens(make_client: MakeClient) -> None:
    bob = make_client("bob")
    assert bob.post("/api/auth/access_tokens", json={"name": "child"}).status_code == 403
    own = bob.get("/api/auth/access_tokens/self").json()["id"]
    assert bob.patch(f"/api/auth/access_tokens/{own}", json={"expiry_date": None}).status_code == 403
    assert bob.delete(f"/api/auth/access_tokens/{own}").status_code == 204


def test_self_is_for_access_tokens_only(client: TestClient) -> None:
    assert client.get("/api/auth/access_tokens/self").status_code == 404


def test_pages_of_access_tokens(client: TestClient) -> None:
    for number in range(3):
        created(client, "/api/auth/access_tokens", name=f"t{number}")
    page = client.get("/api/auth/access_tokens?page_size=2&page=2").json()
    assert (page["count"], len(page["results"]), page["next"]) == (3, 1, None)
    assert client.get("/api/auth/access_tokens?page_size=2&page=3").status_code == 404


def test_secure_cookies_follow_the_public_address() -> None:
    assert ApiSettings(public_url="https://host").secure_cookies
    assert not ApiSettings(public_url="http://host").secure_cookies
    assert ApiSettings(cookie_secure=True).secure_cookies
