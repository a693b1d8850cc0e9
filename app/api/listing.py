"""Lists: what may be asked (cvat-api 1.1), and pages as answers.

    tasks = listing("name", "owner", …)        a dependency with these equality parameters
    def list_tasks(query: Annotated[ListQuery, Depends(tasks)], …): return paginate(request, page, TaskRead.of)

Unknown query parameters are ignored, as CVAT does. Sort keys and the fields of `filter` are checked by the store.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from fastapi import Query, Request

from app.api.deps import Links, get_services
from app.errors import InvalidInput, NotFound, shorten
from app.storage import ListQuery, Page

Row = TypeVar("Row")

DEFAULT_PAGE_SIZE = 10
MAX_TEXT = 256
MAX_FILTER = 8192
MAX_WHOLE = 999_999_999

TASK_FIELDS = (
    "id",
    "project_id",
    "project_name",
    "name",
    "owner",
    "status",
    "assignee",
    "subset",
    "mode",
    "dimension",
    "media_type",
    "tracker_link",
    "validation_mode",
)
PROJECT_FIELDS = ("id", "name", "owner", "assignee", "status")
JOB_FIELDS = (
    "id",
    "task_id",
    "project_id",
    "task_name",
    "project_name",
    "assignee",
    "state",
    "stage",
    "dimension",
    "media_type",
    "mode",
    "type",
    "parent_job_id",
)
LABEL_FIELDS = ("id", "name", "parent", "type", "color", "parent_id")
ISSUE_FIELDS = ("id", "owner", "assignee", "job_id", "task_id", "frame_id", "resolved")
COMMENT_FIELDS = ("id", "owner", "issue_id", "job_id", "frame_id")
USER_FIELDS = ("id", "username", "first_name", "last_name", "is_active")
TOKEN_FIELDS = ("id", "name", "read_only")
REQUEST_FIELDS = ("status", "action", "target", "subresource", "format", "task_id", "project_id", "job_id")


def _whole(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_WHOLE))):
        if name == "page":
            raise NotFound("page", text, "Invalid page.")
        needed = f"a whole number from 1 to {MAX_WHOLE:,} is needed, or all"
        raise InvalidInput(f'{needed}; got "{shorten(text)}"', place=name)
    return int(text)


def parse_listing(
    page: str, page_size: str, search: str, sort: str, filter_text: str, equals: dict[str, str], max_page_size: int
) -> ListQuery:
    """What the query parameters ask for.

    Raises:
        NotFound: `page` is not a number from 1 on.
        InvalidInput: `page_size` is neither a number from 1 on nor `all`.
    """
    number = _whole("page", page) if page else 1
    if number < 1:
        raise NotFound("page", page, "Invalid page.")
    size = 0 if page_size == "all" else _whole("page_size", page_size) if page_size else DEFAULT_PAGE_SIZE
    if size < 1 and page_size != "all":
        raise InvalidInput("a page holds at least one entry", place="page_size")
    return ListQuery(
        page=number,
        page_size=size,
        search=search,
        sort=sort,
        filter=filter_text,
        equals=equals,
        max_page_size=max_page_size,
    )


_COMMON: dict[str, str] = {
    "page": "Number of the page, from 1",
    "page_size": "Entries on a page: a number, or `all`",
    "search": "Part of a name, in any letter case",
    "sort": "Field names, comma separated, `-` in front for descending",
    "filter": "A JSON Logic expression",
}


def listing(*fields: str) -> Callable[..., Awaitable[ListQuery]]:
    """A dependency that reads a list's query parameters; `fields` may be asked for by equality."""

    async def parse(request: Request, **given: str | None) -> ListQuery:
        values = {name: value or "" for name, value in given.items()}
        return parse_listing(
            values["page"],
            values["page_size"],
            values["search"],
            values["sort"],
            values["filter"],
            # An empty parameter asks for nothing, as in CVAT: forms send those.
            {name: value for name in fields if (value := given[name])},
            get_services(request).settings.max_page_size,
        )

    parameters = [inspect.Parameter("request", inspect.Parameter.KEYWORD_ONLY, annotation=Request)]
    for name in (*_COMMON, *fields):
        description = _COMMON.get(name, f"Exact match of `{name}`")
        max_length = MAX_FILTER if name == "filter" else MAX_TEXT
        annotation = Annotated[str | None, Query(description=description, max_length=max_length)]
        parameters.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=None))
    # FastAPI reads the signature: one declared parameter for each field, so that the contract shows them.
    parse.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return parse


def paginate(request: Request, links: Links, page: Page[Row], make: Callable[[Row], Any]) -> dict[str, Any]:
    """A page as the answer `Paginated`."""

    def link(number: int) -> str:
        pairs = [(name, value) for name, value in request.query_params.multi_items() if name != "page"]
        return links.url(request.scope["path"], {**dict(pairs), "page": number})

    return {
        "count": page.count,
        "next": link(page.page + 1) if page.has_next else None,
        "previous": link(page.page - 1) if page.page > 1 else None,
        "results": [make(row) for row in page.items],
    }


__all__ = [
    "COMMENT_FIELDS",
    "ISSUE_FIELDS",
    "JOB_FIELDS",
    "LABEL_FIELDS",
    "PROJECT_FIELDS",
    "REQUEST_FIELDS",
    "TASK_FIELDS",
    "TOKEN_FIELDS",
    "USER_FIELDS",
    "listing",
    "paginate",
    "parse_listing",
]
