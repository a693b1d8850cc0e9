"""The rows of the store as frozen values: what every function of this package hands out. No SQL here.

Moments are aware datetimes in UTC. Frame ranges of jobs are inclusive, as CVAT's `start_frame`/`stop_frame`; arguments
named `start`, `stop` are half open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

Item = TypeVar("Item")

RequestStatus = Literal["queued", "started", "failed", "finished"]


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page of a list: `count` is the number of all that match, on every page."""

    count: int
    items: tuple[Item, ...]
    page: int = 1
    page_size: int = 10

    @property
    def has_next(self) -> bool:
        return self.page * self.page_size < self.count


@dataclass(frozen=True, slots=True)
class ListQuery:
    """How a list is asked for (cvat-api, 1.1).

    Attributes:
        page: 1-based.
        page_size: more than `max_page_size` is cut to it; 0 means `all`, whatever their number.
        sort: comma separated field names, `-` for descending; "" is the list's own order.
        filter: JSON Logic as text; "" is none.
        equals: field → value as texts, exact matches.
    """

    page: int = 1
    page_size: int = 10
    search: str = ""
    sort: str = ""
    filter: str = ""
    equals: Mapping[str, str] = field(default_factory=dict)
    max_page_size: int = 500


@dataclass(frozen=True, slots=True)
class UserRef:
    """A user as others see them."""

    id: int
    username: str
    first_name: str = ""
    last_name: str = ""


@dataclass(frozen=True, slots=True)
class User:
    """One account. `is_admin` sees and changes everything."""

    id: int
    username: str
    first_name: str
    last_name: str
    email: str
    is_admin: bool
    is_active: bool
    created_date: datetime
    last_login: datetime | None

    @property
    def ref(self) -> UserRef:
        return UserRef(self.id, self.username, self.first_name, self.last_name)


@dataclass(frozen=True, slots=True)
class Token:
    """A credential without its secret; `kind` is `login` (the key of a login) or `access` (personal access token)."""

    id: int
    owner: UserRef
    kind: Literal["login", "access"]
    name: str
    prefix: str
    read_only: bool
    created_date: datetime
    updated_date: datetime
    expiry_date: datetime | None
    last_used_date: datetime | None


@dataclass(frozen=True, slots=True)
class Session:
    """A browser's login; unsafe methods must repeat `csrf_token`."""

    user: User
    csrf_token: str
    expiry_date: datetime


@dataclass(frozen=True, slots=True)
class Project:
    """One project; `task_subsets` are the distinct subsets of its tasks, in order."""

    id: int
    name: str
    owner: UserRef | None
    assignee: UserRef | None
    assignee_updated_date: datetime | None
    bug_tracker: str
    status: str
    created_date: datetime
    updated_date: datetime
    task_subsets: tuple[str, ...]
    n_tasks: int


@dataclass(frozen=True, slots=True)
class Task:
    """One task. Without data (`has_data` false) sizes are 0, `mode` is "" and there are no jobs.

    Attributes:
        size: number of frames, deleted ones included.
        start_frame, stop_frame: indices of the source list that was cut (data/meta only).
        data_updated_date: when frames or the set of deleted frames last changed.
        revision: grows with every change of the task, its data, labels or annotations.
        n_jobs, n_completed_jobs, n_validation_jobs: all jobs, those in state completed (stage acceptance), those in
            stage validation.
    """

    id: int
    name: str
    project_id: int | None
    project_name: str | None
    subset: str
    bug_tracker: str
    owner: UserRef | None
    assignee: UserRef | None
    assignee_updated_date: datetime | None
    status: str
    created_date: datetime
    updated_date: datetime
    has_data: bool
    mode: str
    size: int
    segment_size: int
    overlap: int
    image_quality: int
    chunk_size: int
    start_frame: int
    stop_frame: int
    frame_filter: str
    sorting_method: str
    data_updated_date: datetime
    revision: int
    n_jobs: int
    n_completed_jobs: int
    n_validation_jobs: int


@dataclass(frozen=True, slots=True)
class TaskData:
    """What a task becomes when its pictures are attached; see `Task` for the fields.

    Attributes:
        jobs: (start, stop) of each job, half open, in order.
    """

    jobs: tuple[tuple[int, int], ...]
    segment_size: int
    overlap: int = 0
    mode: str = "annotation"
    image_quality: int = 70
    chunk_size: int = 72
    start_frame: int = 0
    stop_frame: int = 0
    frame_filter: str = ""
    sorting_method: str = "lexicographical"


@dataclass(frozen=True, slots=True)
class Job:
    """A window on the frames of a task; `stop_frame` is inclusive. Several fields are its task's."""

    id: int
    task_id: int
    task_name: str
    project_id: int | None
    project_name: str | None
    start_frame: int
    stop_frame: int
    stage: str
    state: str
    assignee: UserRef | None
    assignee_updated_date: datetime | None
    bug_tracker: str
    mode: str
    chunk_size: int
    created_date: datetime
    updated_date: datetime
    revision: int
    n_issues: int = 0

    @property
    def frame_range(self) -> tuple[int, int]:
        """Half open: (start, stop)."""
        return self.start_frame, self.stop_frame + 1

    @property
    def status(self) -> str:
        """CVAT's status of a job: follows its stage."""
        return {"annotation": "annotation", "validation": "validation", "acceptance": "completed"}[self.stage]


@dataclass(frozen=True, slots=True)
class AttributeDraft:
    """An attribute as a client wrote it. `id` names an existing one, in changes only."""

    name: str
    mutable: bool = False
    input_type: str = "text"
    default_value: str = ""
    values: tuple[str, ...] = ()
    id: int | None = None


@dataclass(frozen=True, slots=True)
class LabelDraft:
    """A label as a client wrote it, or a change of one.

    Attributes:
        id: None adds a label; else the label to change. Ignored on creation of a task or project.
        deleted: removes the label (with its annotations).
        color, type, attributes, sublabels, svg: None leaves what is there (a new label takes the defaults).
    """

    name: str | None
    id: int | None = None
    deleted: bool = False
    color: str | None = None
    type: str | None = None
    attributes: tuple[AttributeDraft, ...] | None = None
    sublabels: tuple[LabelDraft, ...] | None = None
    svg: str | None = None


@dataclass(frozen=True, slots=True)
class UploadPart:
    """One file of a form within a staged body: bytes `offset` to `offset + size`. `name` is the client's, unchecked."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Segment:
    """One blob of an upload or a pack; segments follow each other without gaps."""

    key: str
    size: int


@dataclass(frozen=True, slots=True)
class Upload:
    """Staged bytes, by tus, in one body, or as one body of a form.

    Attributes:
        id: `<user id>_<32 hex digits>`; also what a client finds again as `Upload-Filename` (except for pictures).
        kind: `data`, `annotations`, `dataset` or `backup`.
        target, target_id: what it was sent to: `task`, `job`, `project`, and its id (None for backups).
        filename: the client's, reduced to a plain name by the edge.
        length: announced bytes.
        offset: bytes that are safe on disk.
        parts: the files of a form body; empty where the whole body is the file.
        request_id: the request that works on it; such an upload does not expire.
    """

    id: str
    owner_id: int
    kind: str
    target: str
    target_id: int | None
    filename: str
    length: int
    offset: int
    parts: tuple[UploadPart, ...]
    request_id: str | None
    created_date: datetime
    updated_date: datetime
    segments: tuple[Segment, ...]

    @property
    def is_complete(self) -> bool:
        return self.offset == self.length


@dataclass(frozen=True, slots=True)
class Result:
    """A file that a request made. `content_type` and `filename` are for the download."""

    key: str
    size: int
    filename: str
    content_type: str = "application/zip"


@dataclass(frozen=True, slots=True)
class RequestDraft:
    """Background work to be done.

    Attributes:
        type: CVAT's `operation.type`, such as `import:annotations`.
        target: `task`, `job` or `project`.
        options: JSON values for the handler.
        upload_ids: staged uploads that belong to this work; removed after its end.
    """

    type: str
    target: str
    task_id: int | None = None
    job_id: int | None = None
    project_id: int | None = None
    format: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    upload_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """A record of background work; queued → started → finished | failed, and nothing leaves the last two.

    Attributes:
        attempt: how often a worker took it up; guards every write of a worker.
        releases: how many of these do not count as tries: workers that had to stop gave it back.
        progress: 0..1, advisory.
        report: the whole report of an import (`Report.to_dict()`), once final.
        result_id: id of the object that a backup import made.
        upload_ids: staged uploads it works on.
    """

    id: str
    type: str
    target: str
    task_id: int | None
    job_id: int | None
    project_id: int | None
    format: str | None
    options: Mapping[str, Any]
    owner: UserRef
    status: RequestStatus
    message: str
    progress: float | None
    attempt: int
    releases: int
    created_date: datetime
    started_date: datetime | None
    finished_date: datetime | None
    expiry_date: datetime | None
    result: Result | None
    result_id: int | None
    report: Mapping[str, Any] | None
    upload_ids: tuple[str, ...]

    @property
    def is_final(self) -> bool:
        return self.status in ("finished", "failed")
