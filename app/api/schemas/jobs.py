"""Jobs (cvat-api 12)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field

from app.api.deps import Links
from app.api.errors import no_choice
from app.api.schemas.basic import BasicUser, Id, IssuesSummary, LabelsSummary, PatchModel, ReadModel, Storage, Text
from app.storage import Job

STAGES = ("annotation", "validation", "acceptance")
STATES = ("new", "in progress", "completed", "rejected")


def _stage(value: str) -> str:
    if value not in STAGES:
        raise ValueError(no_choice(value, STAGES))
    return value


def _state(value: str) -> str:
    if value not in STATES:
        raise ValueError(no_choice(value, STATES))
    return value


class PatchedJobWriteRequest(PatchModel):
    """A change of a job; a new stage resets the state to `new`, unless it is given too."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"stage": "validation", "assignee": 1}]})

    assignee: Id | None = Field(None, description="A user's id; null takes the assignee away")
    stage: Annotated[Text, AfterValidator(_stage), Field(json_schema_extra={"enum": list(STAGES)})] = "annotation"
    state: Annotated[Text, AfterValidator(_state), Field(json_schema_extra={"enum": list(STATES)})] = "new"


class JobRead(ReadModel):
    """A job: a window on the frames of a task. Frame numbers are the task's; `stop_frame` is inclusive."""

    url: str = Field(examples=["https://host/api/jobs/11"])
    id: int = Field(examples=[11])
    task_id: int = Field(examples=[5])
    task_name: str
    project_id: int | None
    project_name: str | None
    type: str = Field(examples=["annotation"])
    stage: str = Field(examples=["annotation"])
    state: str = Field(examples=["new"])
    status: str = Field(examples=["annotation"])
    start_frame: int = Field(examples=[0])
    stop_frame: int = Field(examples=[2])
    frame_count: int = Field(examples=[3])
    mode: str = Field(examples=["annotation"])
    dimension: str = Field(examples=["2d"])
    media_type: str = Field(examples=["image"])
    assignee: BasicUser | None
    assignee_updated_date: datetime | None
    guide_id: int | None
    bug_tracker: str | None
    data_chunk_size: int | None
    data_compressed_chunk_type: str
    data_original_chunk_type: str
    created_date: datetime
    updated_date: datetime
    organization: int | None
    organization_id: int | None
    target_storage: Storage | None
    source_storage: Storage | None
    parent_job_id: int | None
    replicas_count: int
    consensus_replicas: int
    issues: IssuesSummary
    labels: LabelsSummary

    @classmethod
    def of(cls, job: Job, links: Links) -> JobRead:
        return cls(
            url=links.url(f"/api/jobs/{job.id}"),
            id=job.id,
            task_id=job.task_id,
            task_name=job.task_name,
            project_id=job.project_id,
            project_name=job.project_name,
            type="annotation",
            stage=job.stage,
            state=job.state,
            status=job.status,
            start_frame=job.start_frame,
            stop_frame=job.stop_frame,
            frame_count=job.stop_frame - job.start_frame + 1,
            mode=job.mode,
            dimension="2d",
            media_type="image",
            assignee=BasicUser.of_optional(job.assignee, links),
            assignee_updated_date=job.assignee_updated_date,
            guide_id=None,
            bug_tracker=job.bug_tracker or None,
            data_chunk_size=job.chunk_size,
            data_compressed_chunk_type="imageset",
            data_original_chunk_type="imageset",
            created_date=job.created_date,
            updated_date=job.updated_date,
            organization=None,
            organization_id=None,
            target_storage=None,
            source_storage=None,
            parent_job_id=None,
            replicas_count=0,
            consensus_replicas=0,
            issues=IssuesSummary(count=job.n_issues, url=links.url("/api/issues", job_id=job.id)),
            labels=LabelsSummary(url=links.url("/api/labels", job_id=job.id)),
        )
