"""Logging in, tokens, and what the clients ask before they do anything."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clients.runners import FORMAT, Clients
from tests.samples import write_pictures
from tests.service import ADMIN


@pytest.fixture(scope="module")
def told(clients: Clients, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("session")
    pictures = [str(path) for path in write_pictures(folder / "in", {"a.png": (64, 48)})]
    (folder / "out").mkdir()
    return clients.sdk("session", pictures=pictures, folder=str(folder / "out"))


def test_the_server_is_of_a_version_the_clients_support(told: Any) -> None:
    # The script forbids unsupported servers, so an unfit version had ended it.
    assert told["about"]["version"].startswith("2.80")
    assert set(told["about"]) >= {"name", "description", "version", "logo_url", "subtitle"}


def test_nobody_is_let_in_without_credentials(told: Any) -> None:
    assert told["before_login"] == 401


def test_login_by_password_gives_both_cookies(told: Any) -> None:
    assert told["cookies"] == ["csrftoken", "sessionid"]
    assert told["user"]["username"] == ADMIN
    assert told["user"]["is_superuser"] is True


def test_the_key_of_the_login_is_a_credential(told: Any) -> None:
    assert 1 <= told["key_length"] <= 40
    assert (told["key"], told["wrong_key"]) == (200, 401)


def test_logout_ends_the_session(told: Any) -> None:
    assert told["after_logout"] == 401


def test_access_token_serves_as_bearer(told: Any) -> None:
    assert told["token_user"] == ADMIN
    assert told["token_name"] == "for a test"
    assert told["wrong_token"] == 401


def test_a_read_only_token_exports_and_changes_nothing(told: Any) -> None:
    assert [path.endswith(".zip") for path in told["read"]] == [True] * 3
    assert told["changed"] == 403


def test_basic_credentials_serve_low_level_calls(told: Any) -> None:
    assert told["basic_user"] == ADMIN


def test_wrong_password_is_refused_with_a_reason(told: Any) -> None:
    status, body = told["wrong_password"]
    assert status == 400
    assert "non_field_errors" in body


def test_open_images_is_among_the_formats_both_ways(told: Any) -> None:
    for way in ("importers", "exporters"):
        assert {
            "name": FORMAT, "ext": "ZIP", "version": "1.0", "enabled": True, "dimension": "2d"
        } in told["formats"][way]  # fmt: skip
        assert "Open Images V7 1.0" in [each["name"] for each in told["formats"][way]]


def test_local_mode_serves_the_clients_with_any_password(local_clients: Clients) -> None:
    ended = local_clients.cli("task", "ls", auth=f"{ADMIN}:anything")
    assert ended.code == 0


def test_cli_with_a_wrong_password_fails(clients: Clients) -> None:
    ended = clients.cli("task", "ls", auth=f"{ADMIN}:wrong", ok=False)
    assert ended.code != 0
    assert "400" in ended.err
