"""A task from pictures: its data, labels, jobs, frames, chunks and preview, and frames taken out."""

from __future__ import annotations

import io
import zipfile

from cvat_sdk import models
from PIL import Image
from telling import REQUEST, connect, digest, plain, tell

with connect() as client:
    task = client.tasks.create_from_data(
        models.TaskWriteRequest(name=REQUEST["name"], labels=REQUEST["labels"], **REQUEST.get("task", {})),
        REQUEST["pictures"],
        data_params=REQUEST.get("data", {}),
    )
    meta = task.get_meta()
    originals = [task.get_frame(number, quality="original").read() for number in range(task.size)]
    compressed = Image.open(task.get_frame(0, quality="compressed"))
    chunk = io.BytesIO()
    task.download_chunk(0, chunk, quality="original")
    with zipfile.ZipFile(chunk) as members:
        in_chunk = [digest(members.read(name)) for name in members.namelist()]
        chunk_names = members.namelist()
    preview = Image.open(task.get_preview())
    task.download_frames(range(task.size), outdir=REQUEST["folder"])
    jobs = task.get_jobs()
    job = max(jobs, key=lambda one: one.id)
    job_meta = job.get_meta()
    job_frame = job.get_frame(job.start_frame, quality="original").read()
    job_preview = Image.open(job.get_preview()).format
    job.update({"state": "in progress"})
    renamed = task.update({"name": REQUEST["name"] + " (renamed)"})
    task.remove_frames_by_ids([1])
    listed = [each for each in client.tasks.list() if each.id == task.id]
    tell(
        task=plain(client.tasks.retrieve(task.id)),
        listed=len(listed),
        labels=task.get_labels(),
        meta=meta,
        deleted=task.get_meta().deleted_frames,
        originals=[digest(body) for body in originals],
        compressed=[compressed.format, *compressed.size],
        in_chunk=in_chunk,
        chunk_names=chunk_names,
        preview=[preview.format, *preview.size],
        jobs=jobs,
        job_meta=job_meta,
        job_frame=digest(job_frame),
        job_preview=job_preview,
        job_state=client.jobs.retrieve(job.id).state,
    )
