"""Who sees what: every thing with every viewer."""

from __future__ import annotations

import pytest

from app.errors import AccessDenied, Conflict, NotFound
from app.storage import (
    LabelDraft,
    ListQuery,
    RequestDraft,
    Storage,
    User,
    jobs,
    labels,
    projects,
    requests,
    tasks,
    uploads,
    users,
)
from tests.storage.stores import make_task


def sees(storage: Storage, viewer: User, what: str, key: object) -> bool:
    """Whether `get` and the list agree that the viewer sees it."""
    module = {"task": tasks, "job": jobs, "project": projects, "label": labels, "request": requests}[what]
    with storage.database.read() as conn:
        items = module.list_page(conn, viewer, ListQuery(page_size=0)).items  # type: ignore[attr-defined]
        listed = key in [item.label.id if what == "label" else item.id for item in items]
        try:
            module.get(conn, viewer, key)  # type: ignore[attr-defined]
        except NotFound:
            assert not listed
            return False
    assert listed
    return True


def everything(storage: Storage, viewer: User, things: dict[str, object]) -> set[str]:
    return {what for what, key in things.items() if sees(storage, viewer, what, key)}


@pytest.fixture
def things(storage: Storage, ann: User) -> dict[str, object]:
    """A task of ann with a job, a label and a request."""
    task = make_task(storage, 4)
    with storage.database.write() as conn:
        request, _ = requests.create(conn, ann, RequestDraft("export:dataset", "task", task_id=task.id, format="f"))
        return {
            "task": task.id,
            "job": jobs.of_task(conn, task.id)[0].id,
            "label": labels.of_task(conn, task.id).labels[0].id,
            "request": request.id,
        }


def test_owner_and_admin_see_all_and_a_stranger_nothing(
    storage: Storage, things: dict[str, object], ann: User, bob: User, admin: User
) -> None:
    assert everything(storage, ann, things) == set(things)
    assert everything(storage, admin, things) == set(things)
    assert everything(storage, bob, things) == set()


def test_an_assignee_of_the_task_sees_it_but_not_its_requests(
    storage: Storage, things: dict[str, object], ann: User, bob: User
) -> None:
    with storage.database.write() as conn:
        tasks.change(conn, ann, things["task"], assignee_id=bob.id)
    assert everything(storage, bob, things) == {"task", "job", "label"}
    with pytest.raises(AccessDenied), storage.database.write() as conn:
        tasks.delete(conn, bob, things["task"])


def test_an_assignee_of_a_job_sees_the_job_and_its_labels(
    storage: Storage, things: dict[str, object], ann: User, bob: User
) -> None:
    with storage.database.write() as conn:
        jobs.change(conn, ann, things["job"], assignee_id=bob.id)
        assert labels.list_page(conn, bob, ListQuery(), job_id=things["job"]).count == 2
    assert everything(storage, bob, things) == {"job", "label"}


@pytest.mark.parametrize("role", ["owner", "assignee"])
def test_people_of_a_project_see_its_tasks(storage: Storage, ann: User, bob: User, admin: User, role: str) -> None:
    with storage.database.write() as conn:
        owner = bob if role == "owner" else admin
        project = projects.create(
            conn, owner, "p", [LabelDraft("x")], assignee_id=bob.id if role == "assignee" else None
        )
        task = tasks.create(conn, admin, "t", project_id=project.id)
        label_id = labels.of_task(conn, task.id).labels[0].id
    things: dict[str, object] = {"project": project.id, "task": task.id, "label": label_id}
    assert everything(storage, bob, things) == set(things)
    assert everything(storage, ann, things) == set()
    with storage.database.write() as conn:
        if role == "owner":
            tasks.delete(conn, bob, task.id)
            projects.delete(conn, bob, project.id)
        else:
            with pytest.raises(AccessDenied):
                projects.delete(conn, bob, project.id)


def test_a_task_cannot_be_put_into_a_foreign_project(storage: Storage, ann: User, bob: User) -> None:
    with storage.database.write() as conn:
        project = projects.create(conn, bob, "p")
        with pytest.raises(Exception, match="there is no project"):
            tasks.create(conn, ann, "t", project_id=project.id)


def test_uploads_are_their_owners(storage: Storage, ann: User, bob: User, admin: User) -> None:
    with storage.database.write() as conn:
        upload = uploads.create(conn, ann, kind="data", target="task", target_id=1, filename="a", length=5)
        assert uploads.get(conn, ann, upload.id) == uploads.get(conn, admin, upload.id) == upload
        with pytest.raises(NotFound):
            uploads.get(conn, bob, upload.id)
    with pytest.raises(NotFound):
        uploads.open_chunk(storage, bob, upload.id, 0)


def test_only_admins_list_other_users(storage: Storage, ann: User, admin: User) -> None:
    with storage.database.read() as conn:
        assert [user.username for user in users.list_page(conn, ann, ListQuery()).items] == ["ann"]
        assert users.list_page(conn, admin, ListQuery()).count == 3


def test_a_task_with_work_running_is_not_deleted(storage: Storage, things: dict[str, object], ann: User) -> None:
    with storage.database.write() as conn:
        with pytest.raises(Conflict):
            tasks.delete(conn, ann, things["task"])
        requests.cancel(conn, ann, things["request"])
        tasks.delete(conn, ann, things["task"])
    assert everything(storage, ann, things) == set()
