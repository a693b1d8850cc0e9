"""The service about itself."""

from __future__ import annotations

import pytest
from fastapi import FastAPI

from app.api.server import client_version
from tests.api.conftest import TestClient


def test_about_needs_no_credentials_and_has_every_field(anonymous: TestClient) -> None:
    about = anonymous.get("/api/server/about").json()
    assert set(about) == {"name", "description", "version", "logo_url", "subtitle"}
    assert all(isinstance(value, str) and value for value in about.values())
    assert about["version"] == "2.80.0+annoport.0.1.0"


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("0.1.0", "2.80.0+annoport.0.1.0"),
        ("1.0-RC_1", "2.80.0+annoport.1.0.rc.1"),
        ("", "2.80.0+annoport"),
        ("dirty/tree!", "2.80.0+annoport.dirty.tree"),
    ],
)
def test_the_version_is_one_that_clients_can_read(version: str, expected: str) -> None:
    assert client_version(version) == expected


def test_formats_are_those_of_the_registry(client: TestClient) -> None:
    formats = client.get("/api/server/annotation/formats").json()
    entry = {"name": "Open Images V6 1.0", "ext": "ZIP", "version": "1.0", "enabled": True, "dimension": "2d"}
    assert formats["importers"] == [entry]
    assert [one["name"] for one in formats["exporters"]] == ["Open Images V6 1.0", "Write Only 2.1"]


def test_plugins_are_none(client: TestClient) -> None:
    assert set(client.get("/api/server/plugins").json().values()) == {False}


def test_there_are_no_docs_that_load_scripts_from_elsewhere(app: FastAPI, client: TestClient) -> None:
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert client.get(path).status_code == 404
