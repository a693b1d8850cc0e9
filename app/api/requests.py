"""Background work (cvat-api 3 and 15)."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import Depends, Path, Request

from app.api.deps import CallerDep, LinksDep, ServicesDep
from app.api.exports import find_goal
from app.api.imports import ask
from app.api.listing import REQUEST_FIELDS, listing, paginate
from app.api.routing import Router, body_limit
from app.api.schemas import PaginatedRequestList, RqId
from app.api.schemas import Request as RequestRead
from app.errors import Conflict, InvalidInput
from app.requests import cancel, wait_until_final_async
from app.storage import ListQuery, RequestDraft, requests

router = Router(prefix="/api/requests", tags=["requests"])

RequestQuery = Annotated[ListQuery, Depends(listing(*REQUEST_FIELDS))]
RequestId = Annotated[str, Path(max_length=256)]


class Departure:
    """Whether the client of a held request has gone, or the service is about to. One waiting `receive` tells of the
    client; nothing is polled."""

    def __init__(self, request: Request) -> None:
        self._state = request.app.state
        self._watch = asyncio.ensure_future(self._until_gone(request))

    async def _until_gone(self, request: Request) -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    async def has_happened(self) -> bool:
        return self._watch.done() or getattr(self._state, "is_stopping", False)

    def close(self) -> None:
        self._watch.cancel()


@router.get("", response_model=PaginatedRequestList, response_model_exclude_unset=True)
def list_requests(
    request: Request, query: RequestQuery, caller: CallerDep, services: ServicesDep, links: LinksDep
) -> Any:
    """The caller's background work, newest first."""
    with services.storage.database.read() as conn:
        page = requests.list_page(conn, caller.user, query)
    return paginate(request, links, page, lambda row: RequestRead.of(row, links))


@router.get("/{request_id}", response_model=RequestRead, response_model_exclude_unset=True)
async def get_request(
    request: Request, request_id: RequestId, caller: CallerDep, services: ServicesDep, links: LinksDep
) -> Any:
    """One piece of background work. The answer is held for a moment while the work is about to end: clients poll once,
    then sleep for seconds."""
    departure = Departure(request)
    try:
        row = await wait_until_final_async(
            services.storage,
            caller.user,
            request_id,
            services.settings.request_hold_seconds,
            should_stop=departure.has_happened,
        )
    finally:
        departure.close()
    return RequestRead.of(row, links)


@router.post("/{request_id}/cancel", response_model=RequestRead, response_model_exclude_unset=True)
@body_limit("max_login_body_bytes")
def cancel_request(request_id: RequestId, caller: CallerDep, services: ServicesDep, links: LinksDep) -> Any:
    """Cancel work that is queued or running. What has ended cannot be cancelled (400)."""
    try:
        row = cancel(services.storage, caller.user, request_id)
    except Conflict as error:
        raise InvalidInput(error.detail, code="request.final") from None
    return RequestRead.of(row, links)


@router.post("/{request_id}/retry", status_code=202, response_model=RqId)
@body_limit("max_login_body_bytes")
def retry_request(request_id: RequestId, caller: CallerDep, services: ServicesDep) -> Any:
    """Ask once more for an export that failed, was cancelled or has expired, with the very options it had. An import
    needs its archive again (400)."""
    with services.storage.database.read() as conn:
        row = requests.get(conn, caller.user, request_id)
        if not row.type.startswith("export:"):
            message = "only exports can be tried again by themselves; send the archive of an import again"
            raise InvalidInput(message, code="request.retry")
        if row.status in ("queued", "started"):
            raise InvalidInput(f"this work is {row.status}, it need not be tried again", code="request.retry")
        goal = find_goal(conn, caller, row.target, getattr(row, f"{row.target}_id"))
    draft = RequestDraft(
        type=row.type,
        target=goal.target,
        task_id=goal.task_id,
        job_id=goal.job_id,
        project_id=goal.project_id,
        format=row.format,
        options=row.options,
    )
    return {"rq_id": ask(services, caller, draft, reuse_finished=True).id}
