"""The main job again and again through the SDK, by a user who tries again whenever something fails, until the time is
up: a task with pictures, an archive into it, an export out of it. Tells what was acknowledged."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from cvat_sdk import models
from telling import REQUEST, connect, tell

SECONDS, PATIENCE_SECONDS = REQUEST["seconds"], 200
ended = time.monotonic() + SECONDS
errors: dict[str, int] = {}
rounds = []


def insist(step):
    """Until it is well; every failure is counted by its kind."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return step()
        except Exception as error:
            status = getattr(error, "status", "")
            kind = f"{type(error).__name__} {status} {str(error)[:160] if not status else ''}".strip()
            errors[kind] = errors.get(kind, 0) + 1
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)


def one_round(client, count):
    """A task, an import, an export; each until it is well."""
    variant = REQUEST["variants"][count % len(REQUEST["variants"])]
    place = Path(REQUEST["folder"]) / f"{REQUEST['name']}-{count}.zip"
    tries = []

    def create():
        tries.append(count)
        spec = models.TaskWriteRequest(name=f"{REQUEST['name']} {count}.{len(tries)}", labels=REQUEST["labels"])
        return client.tasks.create_from_data(spec, REQUEST["pictures"], status_check_period=0.2)

    def export():
        place.unlink(missing_ok=True)
        task.export_dataset(REQUEST["format"], str(place), include_images=True, status_check_period=0.2)

    task = insist(create)
    options = {"status_check_period": 0.2, "conv_mask_to_poly": False}
    insist(lambda: task.import_annotations(REQUEST["format"], variant["path"], **options))
    insist(export)
    digest = hashlib.sha256(place.read_bytes()).hexdigest()
    return {"task": task.id, "variant": variant["name"], "digest": digest}


with insist(connect) as client:
    while time.monotonic() < ended or not rounds:
        rounds.append(one_round(client, len(rounds)))
    tell(rounds=rounds, errors=errors)
