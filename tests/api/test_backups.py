"""Backups: the doors out and in. What is in them is proven with the operations."""

from __future__ import annotations

import base64
from functools import partial

import pytest

from app.api import Services
from app.operations import Limits, export_backup, import_backup
from tests.api.conftest import MakeClient, TestClient, created
from tests.api.working import HANDLERS, filled_task, new_task, picture, work

ALL = {**HANDLERS, "export:backup": export_backup, "import:backup": partial(import_backup, limits=Limits())}


def backed_up(client: TestClient, services: Services, kind: str, number: int) -> bytes:
    answer = client.post(f"/api/{kind}s/{number}/backup/export?lightweight=False&location=local")
    assert answer.status_code == 202
    work(services, ALL)
    told = client.get(f"/api/requests/{answer.json()['rq_id']}").json()
    assert (told["status"], told["operation"]["type"]) == ("finished", "export:backup"), told
    file = client.get(told["result_url"])
    assert file.headers["content-type"] == "application/zip"
    assert f'filename="{kind}_t_backup_' in file.headers["content-disposition"]
    return bytes(file.content)


@pytest.fixture
def backup(client: TestClient, services: Services) -> bytes:
    return backed_up(client, services, "task", filled_task(client, services, {"a.png": picture()}))


def made(client: TestClient, services: Services, rq_id: str) -> int:
    work(services, ALL)
    told = client.get(f"/api/requests/{rq_id}").json()
    assert told["status"] == "finished", told
    return int(told["result_id"])


@pytest.mark.parametrize("field", ["task_file", "file"])
def test_a_backup_in_a_form_makes_a_task(client: TestClient, services: Services, backup: bytes, field: str) -> None:
    answer = client.post("/api/tasks/backup/", files={field: ("b.zip", backup)})
    assert answer.status_code == 202
    task = client.get(f"/api/tasks/{made(client, services, answer.json()['rq_id'])}").json()
    assert (task["name"], task["size"]) == ("t", 1)


def test_a_backup_by_tus_makes_a_task(client: TestClient, services: Services, backup: bytes) -> None:
    assert client.post("/api/tasks/backup/?filename=b.zip", headers={"Upload-Start": ""}).status_code == 202
    name = base64.b64encode(b"b.zip").decode()
    tus = {"Tus-Resumable": "1.0.0"}
    begun = client.post(
        "/api/tasks/backup/", headers={**tus, "Upload-Length": str(len(backup)), "Upload-Metadata": f"filename {name}"}
    )
    assert begun.status_code == 201
    place = begun.headers["location"]
    assert client.head(place, headers=tus).headers["upload-offset"] == "0"
    chunk = {**tus, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    assert client.patch(place, content=backup, headers=chunk).status_code == 204
    query = f"filename={begun.headers['upload-filename']}"
    other = client.post(f"/api/projects/backup/?{query}", headers={"Upload-Finish": ""})
    assert other.status_code == 400, "it was sent for a task"
    answer = client.post(f"/api/tasks/backup/?{query}", headers={"Upload-Finish": ""})
    assert answer.status_code == 202
    assert made(client, services, answer.json()["rq_id"]) > 1


def test_a_project_goes_and_comes_with_its_tasks(client: TestClient, services: Services) -> None:
    project = created(client, "/api/projects", name="t", labels=[{"name": "car"}])["id"]
    filled_task(client, services, {"a.png": picture()}, labels=[], project_id=project)
    body = backed_up(client, services, "project", project)
    answer = client.post("/api/projects/backup", files={"project_file": ("b.zip", body)})
    number = made(client, services, answer.json()["rq_id"])
    assert number != project
    assert client.get(f"/api/tasks?project_id={number}").json()["count"] == 1
    assert [label["name"] for label in client.get(f"/api/labels?project_id={number}").json()["results"]] == ["car"]


def test_the_backup_of_a_task_is_no_project(client: TestClient, services: Services, backup: bytes) -> None:
    answer = client.post("/api/projects/backup", files={"project_file": ("b.zip", backup)})
    work(services, ALL)
    told = client.get(f"/api/requests/{answer.json()['rq_id']}").json()
    assert told["status"] == "failed"
    assert "not of a project" in told["message"]


def test_a_task_without_data_has_no_backup(client: TestClient) -> None:
    answer = client.post(f"/api/tasks/{new_task(client)}/backup/export")
    assert (answer.status_code, answer.json()["code"]) == (400, "task.no_data")


def test_other_places_than_the_client_are_400(client: TestClient, services: Services) -> None:
    number = filled_task(client, services, {"a.png": picture()})
    for path in (f"/api/tasks/{number}/backup/export", "/api/tasks/backup"):
        answer = client.post(path, params={"location": "cloud_storage", "cloud_storage_id": 1})
        assert (answer.status_code, answer.json()["code"]) == (400, "unsupported")


def test_a_request_without_a_file_names_the_field(client: TestClient) -> None:
    for kind in ("task", "project"):
        answer = client.post(f"/api/{kind}s/backup")
        assert answer.status_code == 400
        assert f"{kind}_file" in answer.json()["detail"]


def test_a_backup_and_an_export_are_fetched_at_their_own_address(client: TestClient, services: Services) -> None:
    number = filled_task(client, services, {"a.png": picture()})
    rq_id = client.post(f"/api/tasks/{number}/backup/export").json()["rq_id"]
    assert client.post(f"/api/tasks/{number}/backup/export").json()["rq_id"] == rq_id
    work(services, ALL)
    assert client.get(f"/api/tasks/{number}/backup/download?rq_id={rq_id}").status_code == 200
    assert client.get(f"/api/tasks/{number}/dataset/download?rq_id={rq_id}").status_code == 404


def test_an_upload_of_somebody_else_is_not_there(make_client: MakeClient) -> None:
    name = base64.b64encode(b"b.zip").decode()
    tus = {"Tus-Resumable": "1.0.0", "Upload-Length": "5", "Upload-Metadata": f"filename {name}"}
    begun = make_client("ann").post("/api/tasks/backup", headers=tus)
    place = begun.headers["location"]
    assert make_client("bob").head(place, headers={"Tus-Resumable": "1.0.0"}).status_code == 404
    assert make_client("ann").head(place, headers={"Tus-Resumable": "1.0.0"}).status_code == 200
