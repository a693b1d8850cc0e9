"""Users."""

from __future__ import annotations

from collections.abc import Callable

from app.storage import User
from tests.api.conftest import MakeClient, TestClient


def test_self_is_the_whole_record(client: TestClient) -> None:
    record = client.get("/api/users/self").json()
    assert record["url"] == f"http://localhost/api/users/{record['id']}"
    assert set(record) == {
        "url",
        "id",
        "username",
        "first_name",
        "last_name",
        "email",
        "groups",
        "is_staff",
        "is_superuser",
        "is_active",
        "last_login",
        "date_joined",
    }
    assert all(record[name] is not None for name in record if name != "last_login")


def test_others_are_short_records_for_admins_only(make_client: MakeClient, make_user: Callable[..., User]) -> None:
    eve = make_user("eve")
    admin, bob = make_client("root", is_admin=True), make_client("bob")
    assert admin.get(f"/api/users/{eve.id}").json() == {
        "url": f"http://localhost/api/users/{eve.id}",
        "id": eve.id,
        "username": "eve",
        "first_name": "",
        "last_name": "",
    }
    assert bob.get(f"/api/users/{eve.id}").status_code == 404
    own = bob.get("/api/users/self").json()
    assert bob.get(f"/api/users/{own['id']}").json()["username"] == "bob"
    assert admin.get("/api/users").json()["count"] == 3
    assert [user["username"] for user in bob.get("/api/users").json()["results"]] == ["bob"]
    assert (own["is_staff"], own["is_superuser"], own["groups"]) == (False, False, ["user"])
