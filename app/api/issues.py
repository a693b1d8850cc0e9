"""Issues of jobs and the comments below them (cvat-api 15)."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request

from app.api.deps import CallerDep, LinksDep, ServicesDep
from app.api.listing import COMMENT_FIELDS, ISSUE_FIELDS, listing, paginate
from app.api.routing import Router
from app.api.schemas import (
    CommentRead,
    CommentWriteRequest,
    IssueRead,
    IssueWriteRequest,
    PaginatedCommentReadList,
    PaginatedIssueReadList,
    PatchedCommentWriteRequest,
    PatchedIssueWriteRequest,
    PathId,
)
from app.storage import ListQuery, issues

router = Router(prefix="/api", tags=["issues"])

IssueQuery = Annotated[ListQuery, Depends(listing(*ISSUE_FIELDS))]
CommentQuery = Annotated[ListQuery, Depends(listing(*COMMENT_FIELDS))]


@router.get("/issues", response_model=PaginatedIssueReadList, response_model_exclude_unset=True)
def list_issues(request: Request, query: IssueQuery, caller: CallerDep, services: ServicesDep, links: LinksDep) -> Any:
    """The issues of all jobs that the caller may see, newest first."""
    with services.storage.database.read() as conn:
        page = issues.list_page(conn, caller.user, query)
    return paginate(request, links, page, lambda issue: IssueRead.of(issue, links))


@router.post("/issues", status_code=201, response_model=IssueRead)
def create_issue(body: IssueWriteRequest, caller: CallerDep, services: ServicesDep, links: LinksDep) -> Any:
    """Say something about a place on a frame of a job."""
    with services.storage.database.write() as conn:
        issue = issues.create(
            conn,
            caller.user,
            body.job,
            body.frame,
            body.position,
            body.message,
            assignee_id=body.assignee,
            resolved=body.resolved,
        )
    return IssueRead.of(issue, links)


@router.get("/issues/{issue_id}", response_model=IssueRead)
def get_issue(issue_id: PathId, caller: CallerDep, services: ServicesDep, links: LinksDep) -> Any:
    """One issue."""
    with services.storage.database.read() as conn:
        issue = issues.get(conn, caller.user, issue_id)
    return IssueRead.of(issue, links)


@router.patch("/issues/{issue_id}", response_model=IssueRead)
def change_issue(
    issue_id: PathId, body: PatchedIssueWriteRequest, caller: CallerDep, services: ServicesDep, links: LinksDep
) -> Any:
    """Resolve, assign or move it."""
    fields = body.given("resolved", "position")
    if "assignee" in body.model_fields_set:
        fields["assignee_id"] = body.assignee
    with services.storage.database.write() as conn:
        issue = issues.change(conn, caller.user, issue_id, **fields)
    return IssueRead.of(issue, links)


@router.delete("/issues/{issue_id}", status_code=204)
def delete_issue(issue_id: PathId, caller: CallerDep, services: ServicesDep) -> None:
    """Remove it with its comments."""
    with services.storage.database.write() as conn:
        issues.delete(conn, caller.user, issue_id)


@router.get("/comments", response_model=PaginatedCommentReadList, response_model_exclude_unset=True, tags=["comments"])
def list_comments(
    request: Request, query: CommentQuery, caller: CallerDep, services: ServicesDep, links: LinksDep
) -> Any:
    """The comments below all issues that the caller may see, newest first."""
    with services.storage.database.read() as conn:
        page = issues.list_comments(conn, caller.user, query)
    return paginate(request, links, page, lambda comment: CommentRead.of(comment, links))


@router.post("/comments", status_code=201, response_model=CommentRead, tags=["comments"])
def create_comment(body: CommentWriteRequest, caller: CallerDep, services: ServicesDep, links: LinksDep) -> Any:
    """Add a comment to an issue."""
    with services.storage.database.write() as conn:
        comment = issues.add_comment(conn, caller.user, body.issue, body.message)
    return CommentRead.of(comment, links)


@router.get("/comments/{comment_id}", response_model=CommentRead, tags=["comments"])
def get_comment(comment_id: PathId, caller: CallerDep, services: ServicesDep, links: LinksDep) -> Any:
    """One comment."""
    with services.storage.database.read() as conn:
        comment = issues.get_comment(conn, caller.user, comment_id)
    return CommentRead.of(comment, links)


@router.patch("/comments/{comment_id}", response_model=CommentRead, tags=["comments"])
def change_comment(
    comment_id: PathId, body: PatchedCommentWriteRequest, caller: CallerDep, services: ServicesDep, links: LinksDep
) -> Any:
    """Change what it says."""
    with services.storage.database.write() as conn:
        if "message" in body.model_fields_set:
            comment = issues.change_comment(conn, caller.user, comment_id, body.message)
        else:
            comment = issues.get_comment(conn, caller.user, comment_id)
    return CommentRead.of(comment, links)


@router.delete("/comments/{comment_id}", status_code=204, tags=["comments"])
def delete_comment(comment_id: PathId, caller: CallerDep, services: ServicesDep) -> None:
    """Remove it."""
    with services.storage.database.write() as conn:
        issues.delete_comment(conn, caller.user, comment_id)
