"""From an uploaded archive to a request that imports it: what the query says, and the draft.

CVAT's doors and our own ask for the same work; they differ in defaults and in what they do with names they do not know.

    CVAT    format needed       masks become polygons    unknown names ignored
    own     format detected     masks stay masks         unknown names refused
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.api.deps import Caller, Services
from app.api.errors import MethodNotAllowed, did_you_mean
from app.api.queries import check_names, option_names, parse_choice, parse_flag, parse_options
from app.errors import InvalidInput, Unsupported, shorten
from app.formats.base import Format, ImportOptions
from app.requests import enqueue
from app.storage import Request, RequestDraft, Upload, labels, requests, tasks
from app.storage.database import Connection

MODES = ("replace", "append", "merge")
OWN_NAMES = (*option_names(ImportOptions), "format", "mode", "dry_run", "wait", "filename")


@dataclass(frozen=True, slots=True)
class Goal:
    """What an upload or an export is for: `task`, `job` (of a task) or `project`; without id: one to be made."""

    target: str
    id: int | None
    task_id: int | None = None

    @property
    def job_id(self) -> int | None:
        return self.id if self.target == "job" else None

    @property
    def project_id(self) -> int | None:
        return self.id if self.target == "project" else None

    @property
    def path(self) -> str:
        return f"/api/{self.target}s/{self.id}"


def format_named(services: Services, name: str, *, reading: bool) -> Format:
    """The format of this display name, in any letter case; the version may be left out.

    Raises:
        InvalidInput: there is none; names the nearest.
        MethodNotAllowed: it is known, but not in this direction.
    """
    wanted = " ".join(name.split()).lower()
    for one in services.formats:
        if wanted in (one.display_name.lower(), one.name.lower()):
            if (one.read if reading else one.write) is None:
                raise MethodNotAllowed(f"{one.display_name} cannot be {'imported' if reading else 'exported'} here")
            return one
    names = [one.display_name for one in services.formats]
    given = f'there is no format "{shorten(name)}".' if name else "which format is it?"
    message = f"{given}{did_you_mean(name, names)} There are: {', '.join(names)}"
    raise InvalidInput(message, place="format", code="format.unknown")


def check_location(query: Mapping[str, str]) -> None:
    """Archives come from the client and go to it. Raises Unsupported for a cloud storage."""
    if query.get("location") not in (None, "", "local") or query.get("cloud_storage_id"):
        raise Unsupported("cloud storages are not offered here; leave location out, or send location=local")


def import_options(services: Services, query: Mapping[str, str], goal: Goal) -> dict[str, Any]:
    """What CVAT's door was asked for: `format` (the display name) and the options by name.

    Raises:
        InvalidInput, MethodNotAllowed: no such format or value.
        Unsupported: another place than the client.
    """
    check_location(query)
    options: dict[str, Any] = {
        "conv_mask_to_poly": True,
        "mode": "replace",
        "dry_run": False,
        **parse_options(ImportOptions, query),
        "format": format_named(services, query.get("format", ""), reading=True).display_name,
    }
    if goal.target != "project" and query.get("import_mode"):
        options["mode"] = parse_choice("import_mode", query["import_mode"], MODES)
    if query.get("dry_run"):
        options["dry_run"] = parse_flag("dry_run", query["dry_run"])
    return options


def own_import_options(services: Services, query: Mapping[str, str]) -> dict[str, Any]:
    """The same of our own door. Without `format` it is None: the archive's entries tell."""
    check_names(query, (*OWN_NAMES, "import_mode"))
    named = query.get("format")
    options: dict[str, Any] = {
        "conv_mask_to_poly": False,
        "mode": "replace",
        "dry_run": False,
        **parse_options(ImportOptions, query),
        "format": format_named(services, named, reading=True).display_name if named else None,
    }
    for name in ("mode", "import_mode"):
        if query.get(name):
            options["mode"] = parse_choice(name, query[name], MODES)
    if query.get("dry_run"):
        options["dry_run"] = parse_flag("dry_run", query["dry_run"])
    return options


def import_draft(goal: Goal, upload: Upload, options: Mapping[str, Any], revision: int | None = None) -> RequestDraft:
    """The work of importing an uploaded archive, into a task or job of this revision if one is named."""
    if revision is not None:
        options = {**options, requests.IF_REVISION: revision}
    return RequestDraft(
        type="import:dataset" if goal.target == "project" else "import:annotations",
        target=goal.target,
        task_id=goal.task_id,
        job_id=goal.job_id,
        project_id=goal.project_id,
        format=options["format"],
        options={**options, "upload": upload.id},
        upload_ids=(upload.id,),
    )


def backup_draft(goal: Goal, upload: Upload) -> RequestDraft:
    """The work of making a task or project of its backup."""
    return RequestDraft(
        type="import:backup", target=goal.target, options={"upload": upload.id}, upload_ids=(upload.id,)
    )


def ask(services: Services, caller: Caller, draft: RequestDraft, *, reuse_finished: bool = False) -> Request:
    """Record the work and tell the workers. Blocks: call it in a thread.

    Raises:
        AccessDenied: labels of a task or project that the caller has but a job (or task) of.
    """
    if draft.options.get("labels") == "create" and draft.task_id is not None and not draft.options.get("dry_run"):
        with services.storage.database.read() as conn:
            labels.check_may_add(conn, caller.user, draft.task_id)
    return enqueue(
        services.storage,
        services.queue,
        caller.user,
        draft,
        max_queued_per_user=services.settings.max_queued_per_user,
        max_queued=services.settings.max_queued,
        reuse_finished=reuse_finished,
    )


def check_has_data(conn: Connection, task_id: int) -> None:
    """Archives name frames: there must be some. Raises InvalidInput."""
    if not tasks.load(conn, task_id).has_data:
        raise no_data(task_id)


def no_data(task_id: int) -> InvalidInput:
    return InvalidInput(f"task {task_id} has no data yet; upload its pictures first", code="task.no_data")


def data_draft(goal: Goal, staged: Sequence[Upload], params: Mapping[str, Any]) -> RequestDraft:
    """The work of making a task's frames of uploaded pictures."""
    ids = tuple(upload.id for upload in staged)
    return RequestDraft(
        type="create:task",
        target="task",
        task_id=goal.task_id,
        options={"uploads": list(ids), "params": dict(params)},
        upload_ids=ids,
    )
