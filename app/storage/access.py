"""Who may see what: the one filter that every query of an owned thing goes through.

Nobody sees a task or project that is still being made (`unfinished.py`). An admin sees everything else. Anybody else
sees

    project   as its owner or assignee
    task      as its owner or assignee, or through its project
    job       through its task, or as the job's assignee
    label     of a task or project that is seen, or of the task of a job that is assigned
    request, upload, token    as its owner
    issue     through its job; a comment through its issue
    user      oneself

Who sees a thing may work on it. Its owner (or an admin) alone hands it over: to another owner or assignee, or into
another project. Who has but a job of a task changes neither the job's assignee nor the task's labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from app.errors import AccessDenied
from app.storage.rows import User
from app.storage.schema import comments, issues, jobs, labels, projects, requests, tasks, tokens, uploads, users

Condition = sa.ColumnElement[bool]


@dataclass(frozen=True, slots=True)
class Viewer:
    """All that the filter asks of a user; two alike have the same queries."""

    id: int
    is_admin: bool


def condition(table: sa.Table, viewer: User | Viewer) -> Condition:
    """True for the rows of `table` that the viewer may see."""
    if table is issues:
        return issues.c.job_id.in_(visible(sa.select(jobs.c.id), jobs, viewer))
    if table is comments:
        return comments.c.issue_id.in_(visible(sa.select(issues.c.id), issues, viewer))
    return sa.and_(_is_made(table), _is_allowed(table, viewer))


def _is_made(table: sa.Table) -> Condition:
    """Nothing of a task or project that a request is still making."""
    in_making = sa.select(tasks.c.id).where(tasks.c.maker_id.is_not(None))
    if table in (tasks, projects):
        made: Condition = table.c.maker_id.is_(None)
        return made
    if table is jobs:
        return jobs.c.task_id.not_in(in_making)
    if table is labels:
        projects_in_making = sa.select(projects.c.id).where(projects.c.maker_id.is_not(None))
        return sa.and_(
            sa.or_(labels.c.task_id.is_(None), labels.c.task_id.not_in(in_making)),
            sa.or_(labels.c.project_id.is_(None), labels.c.project_id.not_in(projects_in_making)),
        )
    return sa.true()


def _is_allowed(table: sa.Table, viewer: User | Viewer) -> Condition:
    if viewer.is_admin:
        return sa.true()
    me = viewer.id
    own_projects = sa.select(projects.c.id).where(sa.or_(projects.c.owner_id == me, projects.c.assignee_id == me))
    task_is_own = sa.or_(tasks.c.owner_id == me, tasks.c.assignee_id == me, tasks.c.project_id.in_(own_projects))
    own_tasks = sa.select(tasks.c.id).where(task_is_own)
    if table is projects:
        return projects.c.id.in_(own_projects)
    if table is tasks:
        return task_is_own
    if table is jobs:
        return sa.or_(jobs.c.assignee_id == me, jobs.c.task_id.in_(own_tasks))
    if table is labels:
        my_jobs = sa.select(jobs.c.task_id).where(jobs.c.assignee_id == me)
        projects_of_my_jobs = sa.select(tasks.c.project_id).where(
            tasks.c.id.in_(my_jobs), tasks.c.project_id.is_not(None)
        )
        projects_of_my_tasks = sa.select(tasks.c.project_id).where(task_is_own, tasks.c.project_id.is_not(None))
        return sa.or_(
            labels.c.task_id.in_(own_tasks),
            labels.c.task_id.in_(my_jobs),
            labels.c.project_id.in_(own_projects),
            labels.c.project_id.in_(projects_of_my_jobs),
            labels.c.project_id.in_(projects_of_my_tasks),
        )
    if table in (requests, uploads, tokens):
        owned: Condition = table.c.owner_id == me
        return owned
    if table is users:
        return users.c.id == me
    raise AssertionError(f"no rule for {table.name}")


def visible(query: sa.Select[Any], table: sa.Table, viewer: User | Viewer) -> sa.Select[Any]:
    """The same query for what the viewer may see."""
    return query.where(condition(table, viewer))


def check_owner(owner_id: int | None, viewer: User, what: str) -> None:
    """For what an assignee may not do. Raises AccessDenied."""
    if not viewer.is_admin and owner_id != viewer.id:
        raise AccessDenied(f"only the owner of this {what} or an administrator may do this")


def check_handing_over(viewer: User, thing: Any, fields: Mapping[str, Any], what: str) -> None:
    """Raises AccessDenied where `fields` give a task or project to others, and the viewer is not its owner.

    Values that are as they were are no change: scripts send back what they have read.
    """
    now = {
        "owner_id": thing.owner.id if thing.owner else None,
        "assignee_id": thing.assignee.id if thing.assignee else None,
        "project_id": getattr(thing, "project_id", None),
    }
    if any(name in fields and fields[name] != value for name, value in now.items()):
        check_owner(now["owner_id"], viewer, what)
