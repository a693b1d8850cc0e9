"""Users (cvat-api 15). Accounts are made by the command line: `annoport user add`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request

from app.api.deps import CallerDep, LinksDep, ServicesDep
from app.api.listing import USER_FIELDS, listing, paginate
from app.api.routing import Router
from app.api.schemas import BasicUser, PaginatedMetaUserList, PathId, User
from app.errors import NotFound
from app.storage import ListQuery, users

router = Router(prefix="/api/users", tags=["users"])

UserQuery = Annotated[ListQuery, Depends(listing(*USER_FIELDS))]


@router.get("", response_model=PaginatedMetaUserList, response_model_exclude_unset=True)
def list_users(request: Request, query: UserQuery, caller: CallerDep, services: ServicesDep, links: LinksDep) -> Any:
    """Everybody for an admin; for others themselves."""
    with services.storage.database.read() as conn:
        page = users.list_page(conn, caller.user, query)
    return paginate(request, links, page, lambda user: BasicUser.of(user.ref, links))


@router.get("/self", response_model=User)
def get_self(caller: CallerDep, links: LinksDep) -> Any:
    """The caller."""
    return User.of(caller.user, links)


@router.get("/{user_id}", response_model=BasicUser)
def get_user(user_id: PathId, caller: CallerDep, services: ServicesDep, links: LinksDep) -> Any:
    """One user: any for an admin; for others themselves."""
    if user_id != caller.user.id and not caller.user.is_admin:
        raise NotFound("user", user_id)
    with services.storage.database.read() as conn:
        user = users.get(conn, user_id)
    return BasicUser.of(user.ref, links)
