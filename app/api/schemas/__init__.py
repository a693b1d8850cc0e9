"""Wire models by resource, named as in CVAT's OpenAPI.

In: JSON of clients, rows of the store. Out: drafts for the store, JSON. Never: SQL, a decision about access.
Spec: cvat-api.md sections 6, 8, 12, 13, 15 and 17. Annotations are not here: they are encoded from columns.
Start with `basic.py`.
"""

from app.api.schemas.basic import BasicUser, Detail, PathId, ReadModel, RqId, Text, Whole, WriteModel
from app.api.schemas.errors import ErrorInfo, ProblemInfo
from app.api.schemas.issues import (
    CommentRead,
    CommentWriteRequest,
    IssueRead,
    IssueWriteRequest,
    PatchedCommentWriteRequest,
    PatchedIssueWriteRequest,
)
from app.api.schemas.jobs import JobRead, PatchedJobWriteRequest
from app.api.schemas.labels import AttributeRequest, Label, PatchedLabelRequest
from app.api.schemas.pages import (
    Paginated,
    PaginatedAccessTokenReadList,
    PaginatedCommentReadList,
    PaginatedIssueReadList,
    PaginatedJobReadList,
    PaginatedLabelList,
    PaginatedMetaUserList,
    PaginatedProjectReadList,
    PaginatedRequestList,
    PaginatedTaskReadList,
)
from app.api.schemas.projects import PatchedProjectWriteRequest, ProjectRead, ProjectWriteRequest
from app.api.schemas.requests import Request, download_path
from app.api.schemas.server import About, DatasetFormat, DatasetFormats, Health, Plugins, Readiness
from app.api.schemas.tasks import PatchedTaskWriteRequest, RqStatus, TaskRead, TaskWriteRequest
from app.api.schemas.users import (
    AccessTokenRead,
    AccessTokenWriteRequest,
    LoginKey,
    LoginRequest,
    PatchedAccessTokenWriteRequest,
    User,
)

__all__ = [
    "About",
    "AccessTokenRead",
    "AccessTokenWriteRequest",
    "AttributeRequest",
    "BasicUser",
    "CommentRead",
    "CommentWriteRequest",
    "DatasetFormat",
    "DatasetFormats",
    "Detail",
    "ErrorInfo",
    "Health",
    "IssueRead",
    "IssueWriteRequest",
    "JobRead",
    "Label",
    "LoginKey",
    "LoginRequest",
    "Paginated",
    "PaginatedAccessTokenReadList",
    "PaginatedCommentReadList",
    "PaginatedIssueReadList",
    "PaginatedJobReadList",
    "PaginatedLabelList",
    "PaginatedMetaUserList",
    "PaginatedProjectReadList",
    "PaginatedRequestList",
    "PaginatedTaskReadList",
    "PatchedAccessTokenWriteRequest",
    "PatchedCommentWriteRequest",
    "PatchedIssueWriteRequest",
    "PatchedJobWriteRequest",
    "PatchedLabelRequest",
    "PatchedProjectWriteRequest",
    "PatchedTaskWriteRequest",
    "PathId",
    "Plugins",
    "ProblemInfo",
    "ProjectRead",
    "ProjectWriteRequest",
    "ReadModel",
    "Readiness",
    "Request",
    "RqId",
    "RqStatus",
    "TaskRead",
    "TaskWriteRequest",
    "Text",
    "User",
    "Whole",
    "WriteModel",
    "download_path",
]
