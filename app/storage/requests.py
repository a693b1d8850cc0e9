"""The rows of background work: the one truth about it (stack.md, section 3).

    queued → started → finished | failed

Every write of a worker names its attempt, and is refused when the row has gone on to another attempt or to the end.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import orjson
import sqlalchemy as sa

from app.errors import Busy, Cancelled, Conflict, NotFound, Outdated, TooManyRequests
from app.storage import counters
from app.storage.access import visible
from app.storage.database import Connection
from app.storage.listing import Field, Listing, fetch_page
from app.storage.removal import remove_uploads
from app.storage.rows import ListQuery, Page, Request, RequestDraft, Result, User
from app.storage.schema import jobs, now, projects, requests, tasks, uploads, users
from app.storage.users import ref_columns, ref_from

ACTIVE = ("queued", "started")
KEEP_UPLOAD = "keep_upload"
"""An option of work that only looks at its uploads: they wait for the next request that names them."""
IF_REVISION = "if_revision"
"""An option of an import: the revision that its task (or job) must have, from the asking to the effect."""
LOST_AFTER_SECONDS = 60.0  # a queued request whose message may be gone; of short leases, as long as they are
GONE_AFTER_SECONDS = 2.0  # one whose message is gone where none waits: it was sent long ago
NEVER_AHEAD = timedelta(days=1)  # a date beyond is of a clock that was set back: nobody waits until it comes again
MAX_MESSAGE_CHARACTERS = 4000


def _part_of_type(after: bool) -> sa.ColumnElement[str]:
    """`import` or `annotations` of `import:annotations`; the types are few, so a CASE over them works everywhere."""
    known = [
        f"{action}:{what}"
        for action in ("create", "import", "export")
        for what in ("task", "annotations", "dataset", "backup")
    ]
    return sa.case({name: name.split(":")[after] for name in known}, value=requests.c.type, else_=requests.c.type)


LISTING = Listing(
    fields={
        "id": Field(requests.c.id),
        "status": Field(requests.c.status),
        "action": Field(_part_of_type(False)),
        "subresource": Field(_part_of_type(True)),
        "target": Field(requests.c.target),
        "format": Field(requests.c.format),
        "task_id": Field(requests.c.task_id, "integer"),
        "project_id": Field(requests.c.project_id, "integer"),
        "job_id": Field(requests.c.job_id, "integer"),
        "created_date": Field(requests.c.created_date, "moment"),
    },
    search=("id",),
    unique=requests.c.id,
    default_sort="-created_date",
)


def _select() -> sa.Select[Any]:
    return sa.select(requests, *ref_columns(users, "owner_ref")).join(users, users.c.id == requests.c.owner_id)


def _request(row: Any, upload_ids: tuple[str, ...]) -> Request:
    owner = ref_from(row, "owner_ref")
    assert owner is not None, "the join is inner"
    result = None
    if row.result_key is not None:
        result = Result(row.result_key, row.result_size, row.result_filename, row.result_content_type)
    return Request(
        id=row.id,
        type=row.type,
        target=row.target,
        task_id=row.task_id,
        job_id=row.job_id,
        project_id=row.project_id,
        format=row.format,
        options=row.options,
        owner=owner,
        status=row.status,
        message=row.message,
        progress=row.progress,
        attempt=row.attempt,
        releases=row.releases,
        created_date=row.created_date,
        started_date=row.started_date,
        finished_date=row.finished_date,
        expiry_date=row.expiry_date,
        result=result,
        result_id=row.result_id,
        report=row.report,
        upload_ids=upload_ids,
    )


def _upload_ids(conn: Connection, request_id: str) -> tuple[str, ...]:
    chosen = sa.select(uploads.c.id).where(uploads.c.request_id == request_id)
    return tuple(conn.execute(chosen.order_by(uploads.c.created_date, uploads.c.id)).scalars())


def _one(conn: Connection, select: sa.Select[Any], request_id: str) -> Request:
    row = conn.execute(select.where(requests.c.id == request_id)).one_or_none()
    if row is None:
        raise NotFound("request", request_id, "there is no such request, or it has expired")
    return _request(row, _upload_ids(conn, request_id))


# ---- asking


def create(
    conn: Connection,
    owner: User,
    draft: RequestDraft,
    *,
    max_queued_per_user: int = 20,
    max_queued: int = 500,
    reuse_finished: bool = False,
) -> tuple[Request, bool]:
    """Record work as queued. Returns the request and whether it is new.

    An export that equals one of the same owner (type, target, format, options, and revisions of what it shows) which
    is queued or started, or with `reuse_finished` finished, is that one. Imports and data creation are exclusive.

    Raises:
        Conflict: an import or data creation of the same task (or project) is queued or started.
        TooManyRequests, Busy: the limits.
        NotFound: the task or project, or one of the uploads, is gone.
        Outdated: the task (or job) has another revision than is asked for.
    """
    # All who ask lock the same thing first, so two at once see each other (SQLite has one writer anyway).
    _lock_target(conn, draft)
    fingerprint = ""
    if draft.type.startswith("export:"):
        fingerprint = _fingerprint(conn, owner, draft)
        states = (*ACTIVE, "finished") if reuse_finished else ACTIVE
        same = _select().where(requests.c.fingerprint == fingerprint, requests.c.status.in_(states))
        row = conn.execute(same.order_by(requests.c.created_date.desc()).limit(1)).one_or_none()
        if row is not None and (row.status in ACTIVE or (row.expiry_date is not None and row.expiry_date > now())):
            return _request(row, _upload_ids(conn, row.id)), False
    else:
        _check_alone(conn, draft)
    check_revision(conn, draft)
    _check_limits(conn, owner, max_queued_per_user, max_queued)
    request_id = secrets.token_hex(16)
    moment = now()
    conn.execute(
        requests.insert().values(
            id=request_id,
            type=draft.type,
            target=draft.target,
            task_id=draft.task_id,
            job_id=draft.job_id,
            project_id=draft.project_id,
            format=draft.format,
            options=dict(draft.options),
            owner_id=owner.id,
            created_date=moment,
            queued_date=moment,
            fingerprint=fingerprint,
        )
    )
    if draft.upload_ids:
        taken = conn.execute(
            uploads.update()
            .where(uploads.c.id.in_(draft.upload_ids), uploads.c.request_id.is_(None))
            .values(request_id=request_id)
        )
        if taken.rowcount != len(set(draft.upload_ids)):
            raise NotFound("upload", draft.upload_ids, "an upload of this request is gone, send it again")
    return _one(conn, _select(), request_id), True


def _lock_target(conn: Connection, draft: RequestDraft) -> None:
    for table, key in ((projects, draft.project_id), (tasks, draft.task_id)):
        if key is not None:
            held = conn.execute(sa.select(table.c.id).where(table.c.id == key).with_for_update()).one_or_none()
            if held is None:  # removed since it was looked at
                raise NotFound(table.name.removesuffix("s"), key)


def _fingerprint(conn: Connection, owner: User, draft: RequestDraft) -> str:
    """Two exports with the same one give the same file: the revisions say what would be in it."""
    shown: list[Any] = []
    if draft.job_id is not None:
        shown = [conn.execute(sa.select(jobs.c.revision).where(jobs.c.id == draft.job_id)).scalar()]
    task = tasks.c.project_id == draft.project_id if draft.target == "project" else tasks.c.id == draft.task_id
    shown += [
        tuple(row) for row in conn.execute(sa.select(tasks.c.id, tasks.c.revision).where(task).order_by(tasks.c.id))
    ]
    if draft.target == "project":
        shown.append(conn.execute(sa.select(projects.c.revision).where(projects.c.id == draft.project_id)).scalar())
    parts = [owner.id, draft.type, draft.target, draft.task_id, draft.job_id, draft.project_id, draft.format, shown]
    return hashlib.sha256(orjson.dumps([*parts, dict(draft.options)], option=orjson.OPT_SORT_KEYS)).hexdigest()


def check_revision(conn: Connection, asked: RequestDraft | Request) -> None:
    """Whether the task (or job) is as the caller of an import has read it, where the caller says so. What counts is a
    look with the task locked. Raises Outdated."""
    expected = asked.options.get(IF_REVISION)
    if expected is None:
        return
    table, key = (tasks, asked.task_id) if asked.job_id is None else (jobs, asked.job_id)
    if conn.execute(sa.select(table.c.revision).where(table.c.id == key)).scalar() != expected:
        raise outdated_import("task" if asked.job_id is None else "job")


def outdated_import(target: str) -> Outdated:
    return Outdated(
        f"the {target} was changed since its annotations were read (If-Match), so nothing is imported; read them "
        "again, and send the archive again if it is still wanted"
    )


def _check_alone(conn: Connection, draft: RequestDraft) -> None:
    same = (
        requests.c.task_id == draft.task_id if draft.task_id is not None else requests.c.project_id == draft.project_id
    )
    if draft.task_id is None and draft.project_id is None:
        return  # a backup makes a new object
    changing = sa.or_(requests.c.type.like("import:%"), requests.c.type.like("create:%"))
    running = sa.select(requests.c.type).where(same, changing, requests.c.status.in_(ACTIVE)).limit(1)
    found = conn.execute(running).scalar()
    if found is not None:
        what = "an import is running" if found.startswith("import:") else "the task's data is being made"
        raise Conflict(f"{what} here already; wait for its end or cancel it")


def _check_limits(conn: Connection, owner: User, max_queued_per_user: int, max_queued: int) -> None:
    active = sa.select(sa.func.count()).select_from(requests).where(requests.c.status.in_(ACTIVE))
    if conn.execute(active.where(requests.c.owner_id == owner.id)).scalar_one() >= max_queued_per_user:
        raise TooManyRequests(
            f"{max_queued_per_user} of your requests are waiting; wait for one to end", retry_after_seconds=5
        )
    if conn.execute(active).scalar_one() >= max_queued:
        raise Busy("too many requests are waiting, try again later", retry_after_seconds=10)


def get(conn: Connection, viewer: User, request_id: str) -> Request:
    """Raises NotFound."""
    return _one(conn, visible(_select(), requests, viewer), request_id)


def load(conn: Connection, request_id: str) -> Request:
    """The same without a viewer, for background work."""
    return _one(conn, _select(), request_id)


def making_data(conn: Connection, viewer: User, task_id: int) -> str | None:
    """The viewer's request that is about to give this task its data, if there is one."""
    chosen = sa.select(requests.c.id).where(
        requests.c.task_id == task_id, requests.c.type == "create:task", requests.c.status.in_(ACTIVE)
    )
    return conn.execute(visible(chosen, requests, viewer).limit(1)).scalar()


def list_page(conn: Connection, viewer: User, query: ListQuery) -> Page[Request]:
    """Raises InvalidInput for an unknown field or operator, NotFound for a page out of range."""
    return fetch_page(conn, visible(_select(), requests, viewer), LISTING, query, lambda row: _request(row, ()))


def cancel(conn: Connection, viewer: User, request_id: str) -> Request:
    """Fail a queued or started request with "cancelled". Raises Conflict where it is final."""
    get(conn, viewer, request_id)
    ended = _end(conn, request_id, requests.c.status.in_(ACTIVE), "failed", timedelta(days=1), message="cancelled")
    if not ended:
        raise Conflict("this request has ended already")
    return load(conn, request_id)


# ---- working


def claim(conn: Connection, request_id: str, *, lease_seconds: float, max_attempts: int = 3) -> Request | None:
    """Take a request that is queued, or whose worker went silent; None where there is nothing to do."""
    moment = now()
    taken = conn.execute(
        requests.update()
        .where(
            requests.c.id == request_id,
            sa.or_(requests.c.status == "queued", _silent()),
            requests.c.attempt - requests.c.releases < max_attempts,
        )
        .values(
            status="started",
            attempt=requests.c.attempt + 1,
            started_date=sa.func.coalesce(requests.c.started_date, sa.literal(moment, requests.c.started_date.type)),
            lease_until=moment + timedelta(seconds=lease_seconds),
            progress=0.0,
            message="",
        )
    )
    return load(conn, request_id) if taken.rowcount else None


def _own(request_id: str, attempt: int) -> sa.ColumnElement[bool]:
    return sa.and_(requests.c.id == request_id, requests.c.status == "started", requests.c.attempt == attempt)


def _lost(request_id: str) -> Cancelled:
    return Cancelled(f"the request {request_id} was cancelled or taken over")


def beat(
    conn: Connection, request_id: str, attempt: int, *, lease_seconds: float, progress: float | None, message: str = ""
) -> None:
    """Say that attempt is alive. Raises Cancelled where the request is no longer its."""
    values: dict[str, Any] = {"lease_until": now() + timedelta(seconds=lease_seconds)}
    if progress is not None:
        values["progress"] = min(max(progress, 0.0), 1.0)
        values["message"] = message[:MAX_MESSAGE_CHARACTERS]
    if conn.execute(requests.update().where(_own(request_id, attempt)).values(**values)).rowcount == 0:
        raise _lost(request_id)


def _end(
    conn: Connection, request_id: str, chosen: sa.ColumnElement[bool], status: str, stay: timedelta, **values: Any
) -> bool:
    moment = now()
    ended = conn.execute(
        requests.update()
        .where(requests.c.id == request_id, chosen)
        .values(status=status, finished_date=moment, expiry_date=moment + stay, lease_until=None, **values)
        .returning(requests.c.type, requests.c.options, requests.c.started_date, requests.c.result_size)
    ).one_or_none()
    if ended is None:
        return False
    of_it = uploads.c.request_id == request_id
    received = conn.execute(sa.select(sa.func.coalesce(sa.func.sum(uploads.c.length), 0)).where(of_it)).scalar_one()
    if ended.options.get(KEEP_UPLOAD):
        conn.execute(uploads.update().where(of_it).values(request_id=None))
    else:
        remove_uploads(conn, of_it)
    amounts: dict[tuple[str, ...], float] = {
        ("ended", ended.type, status): 1,
        ("received_bytes", ended.type): int(received),
        ("result_bytes", ended.type): ended.result_size or 0,
        ("rows", ended.type): n_rows(values.get("report")),
    }
    if ended.started_date is not None:
        amounts |= counters.of_seconds("seconds", ended.type, (moment - ended.started_date).total_seconds())
    counters.add(conn, amounts)
    return True


def n_rows(report: Mapping[str, Any] | None) -> int:
    """Rows of all tables that a report tells of."""
    tables = (report or {}).get("tables", {})
    return sum(int(count.get("seen", 0)) for count in tables.values())


def finish(
    conn: Connection,
    request_id: str,
    attempt: int,
    *,
    message: str = "",
    report: Mapping[str, Any] | None = None,
    result: Result | None = None,
    result_id: int | None = None,
    ttl_seconds: int,
) -> None:
    """Final status `finished`, in the transaction of the effect. Raises Cancelled where the request is not its."""
    values: dict[str, Any] = {"progress": 1.0, "message": message[:MAX_MESSAGE_CHARACTERS], "report": report}
    if result is not None:
        values |= {
            "result_key": result.key,
            "result_size": result.size,
            "result_filename": result.filename,
            "result_content_type": result.content_type,
        }
    stay = timedelta(seconds=ttl_seconds)
    if not _end(conn, request_id, _own(request_id, attempt), "finished", stay, result_id=result_id, **values):
        raise _lost(request_id)


def fail(
    conn: Connection,
    request_id: str,
    attempt: int,
    *,
    message: str,
    report: Mapping[str, Any] | None = None,
    ttl_seconds: int,
) -> None:
    """Final status `failed`. Raises Cancelled where the request is not its."""
    message = message[:MAX_MESSAGE_CHARACTERS] or "failed"
    stay = timedelta(seconds=ttl_seconds)
    if not _end(conn, request_id, _own(request_id, attempt), "failed", stay, message=message, report=report):
        raise _lost(request_id)


def release(conn: Connection, request_id: str, attempt: int, *, counts: bool = False) -> None:
    """Back to `queued`, for another worker to take soon. The attempt counts as one of the allowed ones if it `counts`
    (a worker that must stop is no reason to give up a request)."""
    n_releases = requests.c.releases if counts else requests.c.releases + 1
    conn.execute(
        requests.update()
        .where(_own(request_id, attempt))
        .values(
            status="queued",
            releases=n_releases,
            lease_until=None,
            queued_date=now() - timedelta(seconds=LOST_AFTER_SECONDS),
        )
    )


def end_leases(conn: Connection) -> int:
    """All workers are dead: what they were at is lost. Returns how many requests that are."""
    running = requests.c.status == "started"
    return conn.execute(requests.update().where(running).values(lease_until=now())).rowcount


def _is_off(date: sa.ColumnElement[Any], until: datetime) -> sa.ColumnElement[bool]:
    return sa.or_(date <= until, date > now() + NEVER_AHEAD)


def _silent() -> sa.ColumnElement[bool]:
    """Started, and the lease is over."""
    return sa.and_(requests.c.status == "started", _is_off(requests.c.lease_until, now()))


def _forgotten(lost_after_seconds: float) -> sa.ColumnElement[bool]:
    """Queued and not taken up for a while."""
    until = now() - timedelta(seconds=min(lost_after_seconds, LOST_AFTER_SECONDS))
    return sa.and_(requests.c.status == "queued", _is_off(requests.c.queued_date, until))


def has_lost(conn: Connection, *, lost_after_seconds: float = LOST_AFTER_SECONDS) -> bool:
    """Whether `requeue_lost` would find anything."""
    lost = sa.select(requests.c.id).where(sa.or_(_silent(), _forgotten(lost_after_seconds)))
    return conn.execute(lost.limit(1)).one_or_none() is not None


def requeue_lost(
    conn: Connection, *, max_attempts: int = 3, ttl_seconds: int, lost_after_seconds: float = LOST_AFTER_SECONDS
) -> tuple[str, ...]:
    """Ids to be sent to the queue again: expired leases, and rows queued for more than `lost_after_seconds` (a minute
    at most). The last attempt's death fails the request."""
    chosen = sa.select(requests.c.id, requests.c.attempt, requests.c.releases).where(_silent())
    lost = []
    expired = conn.execute(chosen.with_for_update(skip_locked=True)).all()
    for row in expired:
        n_deaths = row.attempt - row.releases
        if n_deaths < max_attempts:
            lost.append(row.id)
            continue
        message = (
            f"interrupted: the work stopped {n_deaths} times without a word; it may need more memory than there is"
        )
        _end(conn, row.id, _own(row.id, row.attempt), "failed", timedelta(seconds=ttl_seconds), message=message)
    forgotten = sa.select(requests.c.id).where(_forgotten(lost_after_seconds)).order_by(requests.c.created_date)
    lost += conn.execute(forgotten.with_for_update(skip_locked=True)).scalars().all()
    if lost:  # it takes as long again until they are announced again, not just the next worker's sweep
        again = {"status": "queued", "queued_date": now(), "lease_until": None}
        conn.execute(requests.update().where(requests.c.id.in_(lost)).values(**again))
    counters.add(conn, {("lease_expiries",): len(expired)})
    return tuple(lost)


def mark_downloaded(conn: Connection, request_id: str, *, ttl_seconds: int) -> None:
    """Its result stays for `ttl_seconds` from now on."""
    until: datetime = now() + timedelta(seconds=ttl_seconds)
    later = sa.or_(requests.c.expiry_date.is_(None), requests.c.expiry_date < until)
    conn.execute(
        requests.update()
        .where(requests.c.id == request_id, requests.c.status == "finished", later)
        .values(expiry_date=until)
    )


def lose_result(conn: Connection, request_id: str) -> None:
    """Its file is gone: nobody is given it again in place of a new export."""
    conn.execute(requests.update().where(requests.c.id == request_id).values(expiry_date=now()))


def counts(conn: Connection) -> dict[str, int]:
    """Number of requests by status, for metrics."""
    rows = conn.execute(sa.select(requests.c.status, sa.func.count()).group_by(requests.c.status)).all()
    return {"queued": 0, "started": 0, "finished": 0, "failed": 0} | dict(rows)


def oldest_started_seconds(conn: Connection) -> float:
    """How long the longest running request has been at work; 0 where there is none."""
    oldest = conn.execute(
        sa.select(sa.func.min(requests.c.started_date)).where(requests.c.status == "started")
    ).scalar()
    return 0.0 if oldest is None else max(0.0, (now() - oldest).total_seconds())


def oldest_queued_seconds(conn: Connection) -> float:
    """Age of the oldest queued request; 0 where there is none."""
    oldest = conn.execute(sa.select(sa.func.min(requests.c.created_date)).where(requests.c.status == "queued")).scalar()
    return 0.0 if oldest is None else max(0.0, (now() - oldest).total_seconds())
