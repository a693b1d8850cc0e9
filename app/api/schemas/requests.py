"""Records of background work (cvat-api 3)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from app.api.deps import Links
from app.api.schemas.basic import BasicUser, ReadModel
from app.storage import Request as RequestRow


class RequestDataOperation(ReadModel):
    """What is done, and to what."""

    type: str = Field(examples=["export:dataset"])
    target: str = Field(examples=["task"])
    project_id: int | None
    task_id: int | None
    job_id: int | None
    org_id: int | None
    format: str | None = Field(examples=["Open Images V6 1.0"])
    function_id: str | None
    lightweight: bool | None


class Request(ReadModel):
    """Background work. `result_url` is there on finished exports, `result_id` on finished imports of backups.

    `report` goes beyond CVAT: every problem and count of an import or export, once it has ended.
    """

    id: str
    status: str = Field(examples=["finished"], json_schema_extra={"enum": ["queued", "started", "failed", "finished"]})
    message: str = Field(description="Of a failure: what was wrong and where, in one line")
    operation: RequestDataOperation
    progress: float | None = Field(examples=[1.0], ge=0, le=1)
    created_date: datetime
    started_date: datetime | None
    finished_date: datetime | None
    expiry_date: datetime | None
    owner: BasicUser
    result_url: str = ""
    result_id: int = 0
    result_size: int | None = Field(default=None, description="Of a finished export: bytes of the file")
    report: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def of(cls, request: RequestRow, links: Links) -> Request:
        more: dict[str, Any] = {}
        if request.status == "finished" and request.result is not None:
            more["result_url"] = links.url(download_path(request), rq_id=request.id)
            more["result_size"] = request.result.size
        if request.status == "finished" and request.result_id is not None:
            more["result_id"] = request.result_id
        if request.report is not None:
            more["report"] = dict(request.report)
        progress = 1.0 if request.status == "finished" else request.progress
        return cls(
            id=request.id,
            status=request.status,
            message=request.message or ("failed" if request.status == "failed" else ""),
            operation=RequestDataOperation(
                type=request.type,
                target=request.target,
                project_id=request.project_id,
                task_id=request.task_id,
                job_id=request.job_id,
                org_id=None,
                format=request.format,
                function_id=None,
                lightweight=request.options.get("lightweight"),
            ),
            progress=None if progress is None else min(1.0, max(0.0, progress)),
            created_date=request.created_date,
            started_date=request.started_date,
            finished_date=request.finished_date,
            expiry_date=request.expiry_date,
            owner=BasicUser.of(request.owner, links),
            **more,
        )


def download_path(request: RequestRow) -> str:
    """Where the file that a request made is fetched: below the thing it was made of."""
    target_id = {"task": request.task_id, "job": request.job_id, "project": request.project_id}[request.target]
    what = "backup" if request.type == "export:backup" else "dataset"
    return f"/api/{request.target}s/{target_id}/{what}/download"
