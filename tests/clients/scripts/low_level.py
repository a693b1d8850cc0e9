"""Every generated call of the SDK: which there are, which succeeded and were read, and how others are refused."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from types import SimpleNamespace

import cvat_sdk.api_client.apis as apis
from cvat_sdk import exceptions, models
from telling import REQUEST, connect, tell

SECRET = base64.b64encode(f"{REQUEST['user']}:{REQUEST['password']}".encode()).decode()
FORM, LOCAL = REQUEST["format"], {"location": "local"}
worked: set[str] = set()


def names(kind: type, client) -> list[str]:
    return sorted(name.removesuffix("_endpoint") for name in vars(kind(client)) if name.endswith("_endpoint"))


class Calls:
    """The calls of one API; what comes back without an exception was a success that the client could read."""

    def __init__(self, kind: str, client) -> None:
        self._kind, self._api = kind, getattr(apis, kind)(client)

    def __getattr__(self, name: str):
        def call(*given, **named):
            answer, response = getattr(self._api, name)(*given, **named)
            worked.add(f"{self._kind}.{name}")
            # Some answers are not in CVAT's own contract.
            return (
                SimpleNamespace(**json.loads(response.data)) if answer is None and response.data[:1] == b"{" else answer
            )

        return call


def refused(client, endpoint) -> list[object]:
    """Status and code of a call that is not offered, made without a body that would fit."""
    path = endpoint.settings["endpoint_path"]
    for name in ("id", "uuid", "key", "func_id", "delivery_id"):
        path = path.replace("{" + name + "}", "1")
    method = endpoint.settings["http_method"]
    try:
        response = client.rest_client.request(
            method,
            client.configuration.host + path,
            headers={"Authorization": f"Basic {SECRET}", "Content-Type": "application/json"},
            body={} if method in ("POST", "PATCH", "PUT") else None,
        )
        return [response.status, ""]
    except Exception as error:
        body = json.loads(error.body)
        return [error.status, body["code"], bool(body["detail"])]


with connect() as high:
    client = high.api_client
    kinds = [name for name in dir(apis) if name.endswith("Api")]
    there = {kind: names(getattr(apis, kind), client) for kind in kinds}
    auth, server, users, projects, tasks, jobs, labels, issues, comments, requests = (
        Calls(f"{name}Api", client)
        for name in ("Auth", "Server", "Users", "Projects", "Tasks", "Jobs", "Labels", "Issues", "Comments", "Requests")
    )

    def final(started):
        high.wait_for_completion(started.rq_id)
        return requests.retrieve(started.rq_id)

    server.retrieve_about(), server.retrieve_annotation_formats(), server.retrieve_plugins()
    me = users.retrieve_self()
    users.retrieve(me.id), users.list(username=me.username, search=me.username[:2], sort="id")
    token = auth.create_access_tokens(models.AccessTokenWriteRequest(name="low"))
    auth.retrieve_access_tokens(token.id), auth.list_access_tokens(name="low", read_only=False, sort="-id")
    auth.partial_update_access_tokens(
        token.id, patched_access_token_write_request=models.PatchedAccessTokenWriteRequest(name="lower")
    )
    with connect(login=False) as by_token:
        by_token.api_client.configuration.access_token = token.value
        Calls("AuthApi", by_token.api_client).retrieve_access_tokens_self()
    auth.destroy_access_tokens(token.id)

    project = projects.create(models.ProjectWriteRequest(name="low", labels=[models.PatchedLabelRequest(name="cat")]))
    projects.retrieve(project.id), projects.list(name="low", owner=me.username, filter='{"==":[{"var":"name"},"low"]}')
    projects.partial_update(
        project.id, patched_project_write_request=models.PatchedProjectWriteRequest(bug_tracker="https://bugs")
    )
    with Path(REQUEST["dataset"]).open("rb") as file:
        dataset = models.DatasetFileRequest(dataset_file=file)
        form_data = {"_content_type": "multipart/form-data"}
        final(projects.create_dataset(project.id, dataset_file_request=dataset, format=FORM, **form_data))
    projects.retrieve_preview(project.id)
    final(projects.create_dataset_export(FORM, project.id, save_images=True, **LOCAL))
    backup = final(projects.create_backup_export(project.id, lightweight=False, **LOCAL))
    kept = Path(REQUEST["folder"], "low-project.zip")
    kept.write_bytes(client.rest_client.GET(backup.result_url, headers=client.get_common_headers()).data)
    with kept.open("rb") as file:
        upload = models.ProjectFileRequest(project_file=file)
        made = final(projects.create_backup(project_file_request=upload, **form_data))
    projects.destroy(made.result_id)

    task = tasks.create(models.TaskWriteRequest(name="low", project_id=project.id, segment_size=2, subset="train"))
    tasks.create_data(task.id, upload_start=True)
    with Path(REQUEST["pictures"][0]).open("rb") as one, Path(REQUEST["pictures"][1]).open("rb") as two:
        data = models.DataRequest(image_quality=70, client_files=[one, two])
        final(tasks.create_data(task.id, data_request=data, **form_data))
    tasks.retrieve(task.id), tasks.list(project_id=project.id, subset="train", mode="annotation", media_type="image")
    tasks.partial_update(task.id, patched_task_write_request=models.PatchedTaskWriteRequest(name="lower"))
    tasks.retrieve_status(task.id), tasks.retrieve_data_meta(task.id), tasks.retrieve_preview(task.id)
    tasks.retrieve_data(task.id, type="frame", number=0, quality="original")
    label = labels.list(task_id=task.id, name="cat").results[0]
    labels.retrieve(label.id), labels.partial_update(label.id, patched_label_request={"color": "#00ff00"})
    box = models.LabeledShapeRequest(type="rectangle", frame=0, label_id=label.id, points=[1.0, 2.0, 3.0, 4.0])
    tasks.update_annotations(task.id, labeled_data_request=models.LabeledDataRequest(shapes=[box]))
    more = models.PatchedLabeledDataRequest(shapes=[box])
    tasks.partial_update_annotations("create", task.id, patched_labeled_data_request=more)
    assert len(tasks.retrieve_annotations(task.id).shapes) == 2
    with Path(REQUEST["archive"]).open("rb") as file:
        upload = models.AnnotationFileRequest(annotation_file=file)
        final(
            tasks.create_annotations(
                task.id, annotation_file_request=upload, format=FORM, import_mode="append",
                **form_data,
            )
        )  # fmt: skip
    final(tasks.create_dataset_export(FORM, task.id, save_images=False, filename="low.zip"))
    backup = final(tasks.create_backup_export(task.id, filename="low backup.zip"))
    got = client.rest_client.GET(backup.result_url, headers=client.get_common_headers())
    named = 'filename="low backup.zip"' in got.headers["Content-Disposition"]
    kept = Path(REQUEST["folder"], "low-task.zip")
    kept.write_bytes(got.data)
    with kept.open("rb") as file:
        made = final(tasks.create_backup(task_file_request=models.TaskFileRequest(task_file=file), **form_data))
    tasks.destroy(made.result_id)

    job = jobs.list(task_id=task.id, mode="annotation", media_type="image", stage="annotation").results[0]
    jobs.retrieve(job.id), jobs.partial_update(job.id, patched_job_write_request={"state": "in progress"})
    jobs.retrieve_data_meta(job.id), jobs.retrieve_preview(job.id)
    jobs.retrieve_data(job.id, type="chunk", index=0, quality="compressed")
    jobs.update_annotations(job.id, labeled_data_request=models.LabeledDataRequest(shapes=[box]))
    jobs.partial_update_annotations("create", job.id, patched_labeled_data_request=more)
    assert len(jobs.retrieve_annotations(job.id).shapes) == 2
    with Path(REQUEST["job_archive"]).open("rb") as file:
        upload = models.AnnotationFileRequest(annotation_file=file)
        final(jobs.create_annotations(job.id, annotation_file_request=upload, format=FORM, **form_data))
    final(jobs.create_dataset_export(FORM, job.id))
    issue = issues.create(models.IssueWriteRequest(job=job.id, frame=0, position=[1.0, 2.0], message="look"))
    issues.retrieve(issue.id), issues.list(job_id=job.id, task_id=task.id, frame_id=0, resolved=False)
    issues.partial_update(issue.id, patched_issue_write_request={"resolved": True})
    comment = comments.create(models.CommentWriteRequest(issue=issue.id, message="yes"))
    comments.retrieve(comment.id), comments.list(issue_id=issue.id, job_id=job.id, frame_id=0)
    comments.partial_update(comment.id, patched_comment_write_request={"message": "no"})
    comments.destroy(comment.id), issues.destroy(issue.id)
    jobs.partial_update_data_meta(job.id, patched_job_data_meta_write_request={"deleted_frames": [1]})
    jobs.destroy_annotations(job.id)
    tasks.partial_update_data_meta(task.id, patched_data_meta_write_request={"deleted_frames": []})
    tasks.destroy_annotations(task.id)
    requests.list(task_id=task.id, action="export", status="finished", sort="-created_date")
    # Work that has ended cannot be cancelled, and small work has ended at once: the answer may be either.
    started = tasks.create_dataset_export(FORM, task.id, save_images=True)
    try:
        requests.create_cancel(started.rq_id)
    except exceptions.ApiException as error:
        if error.status == 400:
            worked.add("RequestsApi.create_cancel")
    labels.destroy(label.id), tasks.destroy(task.id), projects.destroy(project.id)

    refusals = {
        f"{kind}.{name}": refused(client, getattr(getattr(apis, kind)(client), f"{name}_endpoint"))
        for kind in kinds
        for name in there[kind]
        if f"{kind}.{name}" not in worked and f"{kind}.{name}" not in ("AuthApi.create_login", "AuthApi.create_logout")
    }
    auth.create_logout()
    auth.create_login(models.LoginSerializerExRequest(username=REQUEST["user"], password=REQUEST["password"]))
tell(there=there, worked=sorted(worked), refusals=refusals, named=named)
