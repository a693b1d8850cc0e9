"""Tasks (cvat-api 6)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from app.api.deps import Links
from app.api.schemas.basic import (
    BasicUser,
    Id,
    JobsSummary,
    LabelsSummary,
    Name,
    OptionalText,
    PatchModel,
    ReadModel,
    Storage,
    StorageRequest,
    Text,
    Whole,
    WriteModel,
)
from app.api.schemas.labels import Labels
from app.storage import Task


def _zero_if_null(value: Any) -> Any:
    return 0 if value is None else value


def _blank_if_null(value: Any) -> Any:
    return "" if value is None else value


Count = Annotated[Whole, BeforeValidator(_zero_if_null, json_schema_input_type=Whole | None)]
Subset = Annotated[Text, BeforeValidator(_blank_if_null, json_schema_input_type=str | None), Field(max_length=64)]


class TaskWriteRequest(WriteModel):
    """A new task; only the name is needed."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "street", "labels": [{"name": "car"}], "segment_size": 100}]}
    )

    name: Name
    project_id: Id | None = None
    labels: Labels = Field(default_factory=list)
    subset: Subset = ""
    segment_size: Count = Field(0, description="Frames in a job; 0: all in one")
    overlap: Count = Field(0, description="Frames that two jobs share; at most half of segment_size")
    bug_tracker: OptionalText = ""
    owner_id: Id | None = None
    assignee_id: Id | None = None
    source_storage: StorageRequest | None = None
    target_storage: StorageRequest | None = None
    consensus_replicas: Annotated[
        int, Field(ge=0, le=0), BeforeValidator(_zero_if_null, json_schema_input_type=Literal[0] | None)
    ] = Field(0, description="Not offered")


class PatchedTaskWriteRequest(PatchModel):
    """A change of a task: only what is sent is changed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "street 2", "assignee_id": None}]})

    name: Name = ""
    project_id: Id | None = None
    labels: Labels = Field(default_factory=list, description="Changes; ignored for a task of a project")
    subset: Subset = ""
    bug_tracker: OptionalText = ""
    owner_id: Id | None = None
    assignee_id: Id | None = None
    organization_id: Id | None = None
    source_storage: StorageRequest | None = None
    target_storage: StorageRequest | None = None


class TaskRead(ReadModel):
    """A task. The fields of its data (`size`, `data…`, `image_quality`) are left out until it has data."""

    url: str = Field(examples=["https://host/api/tasks/5"])
    id: int = Field(examples=[5])
    name: str = Field(examples=["street"])
    project_id: int | None
    project_name: str | None
    mode: str = Field(examples=["annotation"])
    media_type: str = "image"
    dimension: str = "2d"
    owner: BasicUser | None
    assignee: BasicUser | None
    assignee_updated_date: datetime | None
    bug_tracker: str
    subset: str
    status: str = Field(examples=["annotation"])
    created_date: datetime
    updated_date: datetime
    overlap: int | None
    segment_size: int
    data: int = 0
    size: int = Field(0, description="Frames, deleted ones included")
    image_quality: int = 0
    data_chunk_size: int = 0
    data_compressed_chunk_type: str = "imageset"
    data_original_chunk_type: str = "imageset"
    data_cloud_storage_id: int | None = None
    organization: int | None
    organization_id: int | None
    guide_id: int | None
    target_storage: Storage | None
    source_storage: Storage | None
    validation_mode: str | None
    consensus_enabled: bool
    jobs: JobsSummary
    labels: LabelsSummary

    @classmethod
    def of(cls, task: Task, links: Links) -> TaskRead:
        data: dict[str, Any] = {}
        if task.has_data:
            data = {
                "data": task.id,
                "size": task.size,
                "image_quality": task.image_quality,
                "data_chunk_size": task.chunk_size,
                "data_compressed_chunk_type": "imageset",
                "data_original_chunk_type": "imageset",
                "data_cloud_storage_id": None,
            }
        return cls(
            url=links.url(f"/api/tasks/{task.id}"),
            id=task.id,
            name=task.name,
            project_id=task.project_id,
            project_name=task.project_name,
            mode=task.mode if task.has_data else "",
            media_type="image",
            dimension="2d",
            owner=BasicUser.of_optional(task.owner, links),
            assignee=BasicUser.of_optional(task.assignee, links),
            assignee_updated_date=task.assignee_updated_date,
            bug_tracker=task.bug_tracker,
            subset=task.subset,
            status=task.status,
            created_date=task.created_date,
            updated_date=task.updated_date,
            overlap=task.overlap,
            segment_size=task.segment_size,
            organization=None,
            organization_id=None,
            guide_id=None,
            target_storage=None,
            source_storage=None,
            validation_mode=None,
            consensus_enabled=False,
            jobs=JobsSummary(
                count=task.n_jobs,
                completed=task.n_completed_jobs,
                validation=task.n_validation_jobs,
                url=links.url("/api/jobs", task_id=task.id),
            ),
            labels=LabelsSummary(url=links.url("/api/labels", task_id=task.id)),
            **data,
        )


class RqStatus(ReadModel):
    """How the making of a task's data stands (deprecated in CVAT; see /api/requests)."""

    state: str = Field(examples=["Finished"], json_schema_extra={"enum": ["Queued", "Started", "Finished", "Failed"]})
    message: str = ""
    progress: float = 0.0
