"""Issues and comments through the SDK."""

from __future__ import annotations

from cvat_sdk import models
from telling import REQUEST, connect, plain, tell

with connect() as client:
    task = client.tasks.create_from_data(
        models.TaskWriteRequest(name="issues", labels=[{"name": "cat"}]), REQUEST["pictures"]
    )
    (job,) = task.get_jobs()
    issue = client.issues.create(
        models.IssueWriteRequest(frame=0, position=[1.0, 2.5, 30.0, 40.0], job=job.id, message="look here")
    )
    comment = client.comments.create(models.CommentWriteRequest(issue=issue.id, message="I do"))
    comment.update(models.PatchedCommentWriteRequest(message="I did"))
    issue.update(models.PatchedIssueWriteRequest(resolved=True))
    found = [each.id for each in job.get_issues()]
    messages = sorted(each.message for each in issue.get_comments())
    listed = [each.id for each in client.issues.list()]
    retrieved = plain(client.comments.retrieve(comment.id).owner.username)
    count = job.fetch().issues.count
    comment.remove()
    left = [each.message for each in client.issues.retrieve(issue.id).get_comments()]
    told = plain(issue)
    issue.remove()
    gone = job.get_issues()
    users = [user.username for user in client.users.list()]
    task.remove()
    tell(
        issue=told, found=found, messages=messages, listed=listed, owner=retrieved, count=count, left=left,
        gone=plain(gone), users=users,
    )  # fmt: skip
