"""Every method of the SDK's objects: which there are, which of them worked when they were called, and which did not."""

from __future__ import annotations

import functools
import inspect
from pathlib import Path

from cvat_sdk import Client, exceptions, models
from cvat_sdk.core.proxies import issues, jobs, organizations, projects, tasks, users
from cvat_sdk.core.proxies.annotations import AnnotationUpdateAction
from cvat_sdk.datasets import MediaDownloadPolicy, TaskDataset, UpdatePolicy
from telling import REQUEST, connect, tell

CLASSES = [
    tasks.TasksRepo, tasks.Task, projects.ProjectsRepo, projects.Project, jobs.JobsRepo, jobs.Job, issues.IssuesRepo,
    issues.Issue, issues.CommentsRepo, issues.Comment, users.UsersRepo, users.User, organizations.OrganizationsRepo,
    organizations.Organization, Client,
]  # fmt: skip
worked: set[str] = set()


def public(kind: type) -> list[str]:
    return sorted(name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_"))


def watch(kind: type, name: str) -> None:
    real = getattr(kind, name)

    @functools.wraps(real)
    def call(*given, **named):
        result = real(*given, **named)
        worked.add(f"{kind.__name__}.{name}")
        return result

    setattr(kind, name, call)


there = {kind.__name__: public(kind) for kind in CLASSES}
for kind in CLASSES:
    for each in there[kind.__name__]:
        watch(kind, each)


def refused(call) -> bool:
    try:
        call()
    except (exceptions.ApiException, AttributeError, TypeError):
        return True
    return False


folder = Path(REQUEST["folder"])
form = REQUEST["format"]
with connect() as client:
    client.has_credentials()
    client.check_server_version()
    client.get_server_version()
    with client.organization_context(""):
        pass
    client.users.retrieve(client.users.retrieve_current_user().id).fetch()
    client.users.list()

    made = client.tasks.create(models.TaskWriteRequest(name="by hand", labels=[{"name": "cat"}], segment_size=2))
    made.upload_data(REQUEST["pictures"])
    task = client.tasks.retrieve(made.id)
    task.fetch().update(models.PatchedTaskWriteRequest(name="renamed"))
    task.import_annotations(form, REQUEST["archive"])
    task.set_annotations(models.LabeledDataRequest(shapes=[], tags=[], tracks=[]))
    label = task.get_labels()[0].id
    box = models.LabeledShapeRequest(type="rectangle", frame=0, label_id=label, points=[1.0, 2.0, 3.0, 4.0])
    added = models.PatchedLabeledDataRequest(shapes=[box])
    task.update_annotations(added, action=AnnotationUpdateAction.CREATE)
    task.import_annotations(form, REQUEST["archive"], import_mode="append")
    assert len(task.get_annotations().shapes) == 1 + REQUEST["boxes"], "appended, not replaced"
    task.get_meta(), task.get_frames_info(), task.get_preview(), task.get_frame(1)
    task.download_frames([0], outdir=folder)
    with (folder / "chunk.zip").open("wb") as chunk:
        task.download_chunk(0, chunk)
    task.export_dataset(form, folder / "task.zip")
    task.download_backup(folder / "task-backup.zip")
    task.remove_frames_by_ids([2])
    client.tasks.create_from_backup(folder / "task-backup.zip").remove()

    job = client.jobs.retrieve(min(each.id for each in task.get_jobs()))
    assert job.id in [each.id for each in client.jobs.list(task_id=task.id)]
    assert [each.id for each in client.tasks.list(name__contains="ename", id__in=[task.id])] == [task.id]
    job.fetch().update(models.PatchedJobWriteRequest(state="in progress"))
    job.import_annotations(form, REQUEST["job_archive"])
    job.set_annotations(models.LabeledDataRequest(shapes=[], tags=[], tracks=[]))
    box.frame = job.start_frame
    job.update_annotations(added, action=AnnotationUpdateAction.CREATE)
    assert len(job.get_annotations().shapes) == 1
    (
        job.get_meta(),
        job.get_frames_info(),
        job.get_labels(),
        job.get_preview(),
        job.get_frame(job.start_frame, quality="original"),
    )
    job.download_frames([job.start_frame], outdir=folder)
    job.export_dataset(form, folder / "job.zip")
    job.remove_frames_by_ids([job.stop_frame])
    job.remove_annotations()
    issue = client.issues.create(models.IssueWriteRequest(job=job.id, frame=0, position=[1.0, 2.0], message="look"))
    client.issues.retrieve(issue.id).fetch().update(models.PatchedIssueWriteRequest(resolved=True))
    client.issues.list(), job.get_issues()
    comment = client.comments.create(models.CommentWriteRequest(issue=issue.id, message="yes"))
    client.comments.retrieve(comment.id).fetch().update(models.PatchedCommentWriteRequest(message="no"))
    client.comments.list(), issue.get_comments()
    comment.remove(), issue.remove()

    other = client.tasks.create_from_data(
        models.TaskWriteRequest(name="other", labels=[{"name": "cat"}]), REQUEST["pictures"]
    )
    for policy in (MediaDownloadPolicy.PRELOAD_ALL, MediaDownloadPolicy.FETCH_FRAMES_ON_DEMAND):
        dataset = TaskDataset(
            client, other.id, media_download_policy=policy, update_policy=UpdatePolicy.IF_MISSING_OR_STALE
        )
        assert [sample.media.load_image().size for sample in dataset.samples]
    task.remove_annotations()
    task.remove()
    client.tasks.remove_by_ids([other.id])

    plain = client.projects.create(models.ProjectWriteRequest(name="plain", labels=[{"name": "cat"}]))
    plain.import_dataset(form, REQUEST["dataset"])
    project = client.projects.retrieve(plain.id).fetch().update(models.PatchedProjectWriteRequest(name="renamed"))
    assert [each.id for each in client.projects.list(name="renamed", id__gte=project.id)] == [project.id]
    project.get_labels(), project.get_tasks(), project.get_preview()
    project.export_dataset(form, folder / "project.zip")
    project.download_backup(folder / "project-backup.zip")
    back = client.projects.create_from_backup(folder / "project-backup.zip")
    from_dataset = client.projects.create_from_dataset(
        models.ProjectWriteRequest(name="of a dataset"), dataset_path=REQUEST["dataset"], dataset_format=form
    )
    project.remove()
    client.projects.remove_by_ids([back.id, from_dataset.id])

    me = client.users.retrieve_current_user()
    calls = {
        "Project.get_annotations": lambda: from_dataset.get_annotations(),
        "User.remove": lambda: me.remove(),
        "User.update": lambda: me.update(models.PatchedUserRequest(first_name="x")),
        "OrganizationsRepo.create": lambda: client.organizations.create(models.OrganizationWriteRequest(slug="o")),
        "OrganizationsRepo.list": lambda: client.organizations.list(),
        "OrganizationsRepo.retrieve": lambda: client.organizations.retrieve(1),
    }
    failed = [name for name, call in calls.items() if refused(call)]
    client.logout()
    client.login((REQUEST["user"], REQUEST["password"]))

connect(login=False).close()
tell(there=there, worked=sorted(worked), failed=failed)
