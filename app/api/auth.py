"""Login, logout, access tokens (cvat-api 2).

Cookies are written by hand. The SDK joins all Set-Cookie lines with ", " and reads them as one: the last attribute of a
line must not be HttpOnly, Secure or Expires, and Python's cookie module would put Secure last.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from app.api.credentials import Authenticator, address_of, check_csrf, session_key_of, token_secret_of
from app.api.deps import AnyoneDep, Caller, CallerDep, LinksDep, Services, ServicesDep
from app.api.errors import error_body, error_response, request_id_of
from app.api.listing import TOKEN_FIELDS, listing, paginate
from app.api.routing import Router, body_limit
from app.api.schemas import (
    AccessTokenRead,
    AccessTokenWriteRequest,
    Detail,
    LoginKey,
    LoginRequest,
    PaginatedAccessTokenReadList,
    PatchedAccessTokenWriteRequest,
    PathId,
)
from app.errors import AccessDenied, NotAuthenticated, NotFound
from app.storage import ListQuery, User, sessions, tokens

router = Router(prefix="/api/auth", tags=["auth"])

TokenQuery = Annotated[ListQuery, Depends(listing(*TOKEN_FIELDS))]


def cookie_lines(session_key: str, csrf_token: str, max_age_seconds: int, secure: bool) -> list[str]:
    """The two Set-Cookie values; SameSite last, in every case."""
    transport = "Secure; " if secure else ""
    return [
        f"csrftoken={csrf_token}; Max-Age={max_age_seconds}; Path=/; {transport}SameSite=Lax",
        f"sessionid={session_key}; HttpOnly; Max-Age={max_age_seconds}; Path=/; {transport}SameSite=Lax",
    ]


@router.post("/login", response_model=LoginKey)
@body_limit("max_login_body_bytes")
async def log_in(request: Request, body: LoginRequest, _: AnyoneDep, services: ServicesDep) -> Any:
    """Give a key for `Authorization: Token` and a session with its CSRF token, as cookies."""
    authenticator: Authenticator = request.app.state.authenticator
    try:
        user = await authenticator.check_password(body.username or body.email, body.password, address_of(request))
    except NotAuthenticated as error:
        # CVAT's answer; 401 is for credentials in headers.
        fields = {"non_field_errors": [error.detail]}
        return error_response(400, error_body(request_id_of(request), error.detail, error.code, fields=fields))
    key, lines = await run_in_threadpool(_begin_session, services, user, session_key_of(request))
    answer = JSONResponse({"key": key})
    for line in lines:
        answer.headers.append("set-cookie", line)
    return answer


def _begin_session(services: Services, user: User, old_session_key: str) -> tuple[str, list[str]]:
    ttl_seconds = services.settings.session_ttl_seconds
    with services.storage.database.write() as conn:
        if old_session_key:
            sessions.delete(conn, old_session_key)
        session_key, csrf_token = sessions.create(conn, user.id, ttl_seconds=ttl_seconds)
        _, key = tokens.create(conn, user.id, "login", kind="login")
    return key, cookie_lines(session_key, csrf_token, ttl_seconds, services.settings.secure_cookies)


@router.post("/logout", response_model=Detail)
@body_limit("max_login_body_bytes")
def log_out(request: Request, response: Response, _: AnyoneDep, services: ServicesDep) -> Any:
    """End the session, or the login key, that this call came with.

    Open to everybody: the SDK logs out before it logs in again, also when its session has ended by itself.
    """
    database = services.storage.database
    session_key = session_key_of(request)
    with database.read() as conn:
        session = sessions.find(conn, session_key) if session_key else None
    if session is not None:
        check_csrf(request, session.csrf_token)
        with database.write() as conn:
            sessions.delete(conn, session_key)
    secret = token_secret_of(request)
    found = tokens.verify(database, secret) if secret else None
    if found is not None and found[1].kind == "login":
        with database.write() as conn:
            tokens.revoke_secret(conn, secret)
    for line in cookie_lines("", "", 0, services.settings.secure_cookies):
        response.headers.append("set-cookie", line)
    return Detail(detail="Successfully logged out.")


@router.get("/access_tokens", response_model=PaginatedAccessTokenReadList, response_model_exclude_unset=True)
def list_access_tokens(
    request: Request, query: TokenQuery, caller: CallerDep, services: ServicesDep, links: LinksDep
) -> Any:
    """The caller's access tokens, newest first."""
    with services.storage.database.read() as conn:
        page = tokens.list_page(conn, caller.user, query)
    return paginate(request, links, page, lambda token: AccessTokenRead.of(token, links))


@router.post("/access_tokens", status_code=201, response_model=AccessTokenRead, response_model_exclude_unset=True)
def create_access_token(
    body: AccessTokenWriteRequest, caller: CallerDep, services: ServicesDep, links: LinksDep
) -> Any:
    """Make an access token; its `value` is shown here and never again."""
    _refuse_tokens(caller)
    with services.storage.database.write() as conn:
        token, value = tokens.create(
            conn, caller.user.id, body.name, expiry_date=body.expiry_date, read_only=body.read_only
        )
    return AccessTokenRead.of(token, links, value)


@router.get("/access_tokens/self", response_model=AccessTokenRead, response_model_exclude_unset=True)
def get_own_access_token(caller: CallerDep, services: ServicesDep, links: LinksDep) -> Any:
    """The access token that this call came with."""
    if caller.token_id is None or caller.token_kind != "access":
        raise NotFound("access token", "self", "This call did not come with an access token.")
    with services.storage.database.read() as conn:
        token = tokens.get(conn, caller.user, caller.token_id)
    return AccessTokenRead.of(token, links)


@router.get("/access_tokens/{token_id}", response_model=AccessTokenRead, response_model_exclude_unset=True)
def get_access_token(token_id: PathId, caller: CallerDep, services: ServicesDep, links: LinksDep) -> Any:
    """One of the caller's access tokens."""
    with services.storage.database.read() as conn:
        token = tokens.get(conn, caller.user, token_id)
    return AccessTokenRead.of(token, links)


@router.patch("/access_tokens/{token_id}", response_model=AccessTokenRead, response_model_exclude_unset=True)
def change_access_token(
    token_id: PathId,
    body: PatchedAccessTokenWriteRequest,
    caller: CallerDep,
    services: ServicesDep,
    links: LinksDep,
) -> Any:
    """Change a token's name, expiry or rights."""
    _refuse_tokens(caller)
    fields = body.given("name", "read_only", "expiry_date")
    with services.storage.database.write() as conn:
        token = tokens.change(conn, caller.user, token_id, **fields)
    return AccessTokenRead.of(token, links)


@router.delete("/access_tokens/{token_id}", status_code=204)
def revoke_access_token(token_id: PathId, caller: CallerDep, services: ServicesDep) -> None:
    """End an access token."""
    if caller.token_id != token_id:
        _refuse_tokens(caller)
    with services.storage.database.write() as conn:
        tokens.revoke(conn, caller.user, token_id)


def _refuse_tokens(caller: Caller) -> None:
    # A token that leaks must not be able to outlive itself.
    if caller.token_kind == "access":
        raise AccessDenied("Access tokens are managed with a password or a session, not with an access token.")
