"""The store: rows in SQLite or PostgreSQL, bytes in a folder or a bucket. Nobody else knows which.

In: rows as frozen values (`rows.py`), `Annotations`, byte streams. Out: the same. Never: a format, HTTP, a setting.
Spec: stack.md sections 4 to 6, reliability.md sections 2, 7 and 10.
Start with `open_storage`; then `with storage.database.read() as conn: tasks.get(conn, viewer, task_id)`. The modules
named in `__all__` are the verbs of each thing; their functions take the connection first and, for a thing that
somebody owns, the `viewer`: what the viewer may not see raises NotFound.
"""

from app.storage import (
    annotations,
    counters,
    frames,
    housekeeping,
    issues,
    jobs,
    labels,
    projects,
    requests,
    scenes,
    sessions,
    tasks,
    tokens,
    unfinished,
    uploads,
    users,
)
from app.storage.annotation_reader import AnnotationReader
from app.storage.blobs import Blobs, BlobSource, BlobWriter
from app.storage.block_work import BlockCrew
from app.storage.database import Connection, Database
from app.storage.frames import FrameColumns, FramePlaces, FrameSizes
from app.storage.moving import Moved, move
from app.storage.rows import (
    AttributeDraft,
    Job,
    LabelDraft,
    ListQuery,
    Page,
    Project,
    Request,
    RequestDraft,
    RequestStatus,
    Result,
    Segment,
    Session,
    Task,
    TaskData,
    Token,
    Upload,
    UploadPart,
    User,
    UserRef,
)
from app.storage.scenes import Scene
from app.storage.set_writer import SetWriter
from app.storage.split_writer import SplitWriter
from app.storage.storage import Storage, open_storage
from app.storage.uploads import UploadWriter

__all__ = [
    "AnnotationReader",
    "AttributeDraft",
    "BlobSource",
    "BlobWriter",
    "Blobs",
    "BlockCrew",
    "Connection",
    "Database",
    "FrameColumns",
    "FramePlaces",
    "FrameSizes",
    "Job",
    "LabelDraft",
    "ListQuery",
    "Moved",
    "Page",
    "Project",
    "Request",
    "RequestDraft",
    "RequestStatus",
    "Result",
    "Scene",
    "Segment",
    "Session",
    "SetWriter",
    "SplitWriter",
    "Storage",
    "Task",
    "TaskData",
    "Token",
    "Upload",
    "UploadPart",
    "UploadWriter",
    "User",
    "UserRef",
    "annotations",
    "counters",
    "frames",
    "housekeeping",
    "issues",
    "jobs",
    "labels",
    "move",
    "open_storage",
    "projects",
    "requests",
    "scenes",
    "sessions",
    "tasks",
    "tokens",
    "unfinished",
    "uploads",
    "users",
]
