"""Projects (cvat-api 13)."""

from __future__ import annotations

from datetime import datetime

from pydantic import ConfigDict, Field

from app.api.deps import Links
from app.api.schemas.basic import (
    BasicUser,
    Id,
    LabelsSummary,
    Name,
    OptionalText,
    PatchModel,
    ReadModel,
    Storage,
    StorageRequest,
    TasksSummary,
    WriteModel,
)
from app.api.schemas.labels import Labels
from app.storage import Project


class ProjectWriteRequest(WriteModel):
    """A new project; only the name is needed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "streets", "labels": [{"name": "car"}]}]})

    name: Name
    labels: Labels = Field(default_factory=list)
    bug_tracker: OptionalText = ""
    owner_id: Id | None = None
    assignee_id: Id | None = None
    source_storage: StorageRequest | None = None
    target_storage: StorageRequest | None = None


class PatchedProjectWriteRequest(PatchModel):
    """A change of a project: only what is sent is changed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"labels": [{"id": 7, "name": "van"}]}]})

    name: Name = ""
    labels: Labels = Field(default_factory=list, description="Changes of the label set")
    bug_tracker: OptionalText = ""
    owner_id: Id | None = None
    assignee_id: Id | None = None
    organization_id: Id | None = None
    source_storage: StorageRequest | None = None
    target_storage: StorageRequest | None = None


class ProjectRead(ReadModel):
    """A project: labels, and tasks that share them."""

    url: str = Field(examples=["https://host/api/projects/3"])
    id: int = Field(examples=[3])
    name: str = Field(examples=["streets"])
    owner: BasicUser | None
    assignee: BasicUser | None
    assignee_updated_date: datetime | None
    guide_id: int | None
    bug_tracker: str
    task_subsets: list[str] = Field(examples=[["train"]])
    created_date: datetime
    updated_date: datetime
    status: str = Field(examples=["annotation"])
    dimension: str | None = Field(examples=["2d"])
    organization: int | None
    organization_id: int | None
    target_storage: Storage | None
    source_storage: Storage | None
    tasks: TasksSummary
    labels: LabelsSummary

    @classmethod
    def of(cls, project: Project, links: Links) -> ProjectRead:
        return cls(
            url=links.url(f"/api/projects/{project.id}"),
            id=project.id,
            name=project.name,
            owner=BasicUser.of_optional(project.owner, links),
            assignee=BasicUser.of_optional(project.assignee, links),
            assignee_updated_date=project.assignee_updated_date,
            guide_id=None,
            bug_tracker=project.bug_tracker,
            task_subsets=list(project.task_subsets),
            created_date=project.created_date,
            updated_date=project.updated_date,
            status=project.status,
            dimension="2d" if project.n_tasks else None,
            organization=None,
            organization_id=None,
            target_storage=None,
            source_storage=None,
            tasks=TasksSummary(count=project.n_tasks, url=links.url("/api/tasks", project_id=project.id)),
            labels=LabelsSummary(url=links.url("/api/labels", project_id=project.id)),
        )
