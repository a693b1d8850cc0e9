"""The basic calls of a client that was generated of the contract alone: a task, its pictures, an archive in and out."""

from __future__ import annotations

import io
import json
import sys
import time

from generated import AuthenticatedClient, Client, models
from generated.api.annotations import get_task_annotations, replace_task_annotations
from generated.api.auth import create_access_token, log_in
from generated.api.direct import export_task_now, import_into_task
from generated.api.jobs import change_job, list_jobs
from generated.api.labels import list_labels
from generated.api.requests import get_request
from generated.api.server import get_about, list_formats
from generated.api.tasks import (
    create_task,
    delete_task,
    export_task,
    get_task,
    get_task_data,
    get_task_meta,
    list_tasks,
    upload_task_data,
)
from generated.types import File

REQUEST = json.loads(sys.stdin.read())


def part(name: str, path: str) -> File:
    with open(path, "rb") as file:
        return File(payload=io.BytesIO(file.read()), file_name=name, mime_type="application/octet-stream")


def until_final(rq_id: str) -> models.Request:
    while (found := get_request.sync(rq_id, client=client)).status not in ("finished", "failed"):
        time.sleep(0.1)
    return found


url = REQUEST["url"]
anonymous = Client(base_url=url)
about = get_about.sync(client=anonymous)
key = log_in.sync(client=anonymous, body=models.LoginRequest(username=REQUEST["user"], password=REQUEST["password"]))
by_key = AuthenticatedClient(base_url=url, token=key.key, prefix="Token")
token = create_access_token.sync(client=by_key, body=models.AccessTokenWriteRequest(name="generated"))
client = AuthenticatedClient(base_url=url, token=token.value)

body = models.TaskWriteRequest(name="generated", labels=[models.PatchedLabelRequest(name="cat")])
task = create_task.sync(client=client, body=body)
form = models.UploadTaskDataFilesBody(client_files0=part("a.png", REQUEST["picture"]), image_quality=70)
work = upload_task_data.sync(task.id, client=client, body=form)
request = until_final(work.rq_id)
label = list_labels.sync(client=client, task_id=str(task.id)).results[0]
box = models.LabeledShape(
    type_=models.ShapeType.RECTANGLE, frame=0, label_id=label.id, points=[1.0, 2.0, 8.0, 6.0], attributes=[]
)
replace_task_annotations.sync(task.id, client=client, body=models.LabeledData(shapes=[box]))
stored = get_task_annotations.sync(task.id, client=client)
archive = models.ImportIntoTaskFilesBody(file=[part("upload.zip", REQUEST["archive"])])
report = import_into_task.sync(task.id, client=client, body=archive, mode="append")
both = get_task_annotations.sync(task.id, client=client)
job = list_jobs.sync(client=client, task_id=str(task.id)).results[0]
changed = change_job.sync(
    job.id, client=client, body=models.PatchedJobWriteRequest(state=models.PatchedJobWriteRequestState.IN_PROGRESS)
)
export = export_task.sync(task.id, client=client, format_="Open Images V6 1.0")
streamed = export_task_now.sync_detailed(task.id, client=client)
picture = get_task_data.sync_detailed(task.id, client=client, type_="frame", number="0", quality="original")
refused = create_task.sync(client=client, body=models.TaskWriteRequest(name=""))
told = {
    "version": about.version,
    "formats": [one.name for one in list_formats.sync(client=client).importers],
    "request": [request.status, request.operation.type_],
    "size": get_task.sync(task.id, client=client).size,
    "frames": [frame.name for frame in get_task_meta.sync(task.id, client=client).frames],
    "listed": [one.id for one in list_tasks.sync(client=client, name="generated").results] == [task.id],
    "stored": [shape.points for shape in stored.shapes],
    "report": [report.status, report.n_errors],
    "both": len(both.shapes),
    "state": changed.state,
    "export": until_final(export.rq_id).result_url.startswith(url),
    "streamed": [int(streamed.status_code), streamed.content[:2].decode()],
    "picture": len(picture.content),
    "refused": [type(refused).__name__, refused.code, refused.detail],
    "deleted": int(delete_task.sync_detailed(task.id, client=client).status_code),
    "gone": get_task.sync(task.id, client=client).detail,
}
print(json.dumps(told))
