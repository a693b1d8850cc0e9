"""Who is asking: tokens, Basic, the session cookie, or nobody (cvat-api 2, stack 8).

    Authorization: Bearer | Token | Basic   wrong → 401, whatever else is there
    Cookie: sessionid                       unsafe methods need X-CSRFToken as well; a dead session counts as none
    nothing                                 the local admin in local mode (hosts and origins were checked), else 401

A password check costs 0.1 s of CPU on purpose. Basic pays it once: the outcome is remembered for a minute under a keyed
hash, so nothing that could be tried offline lies in memory; the account itself is read again on every request.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict

import anyio
from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.requests import cookie_parser

from app.api.deps import ApiSettings, Caller
from app.errors import AccessDenied, Busy, NotAuthenticated, NotFound
from app.storage import Storage, User, sessions, tokens, users

LOCAL_ADMIN = "admin"

BASIC_TTL_SECONDS = 60.0
"""A changed password ends Basic access at the latest after this."""

MAX_REMEMBERED = 1024
MAX_SECRET_CHARACTERS = 1024
PASSWORD_CHECKS_AT_ONCE = 2
MAX_WAITING_PASSWORD_CHECKS = 64


class BasicMemory:
    """User ids by (name, password), for a minute. Keys are HMACs under a key that never leaves this process."""

    def __init__(self, ttl_seconds: float = BASIC_TTL_SECONDS, size: int = MAX_REMEMBERED) -> None:
        self._key = secrets.token_bytes(32)
        self._ttl_seconds = ttl_seconds
        self._size = size
        self._entries: OrderedDict[bytes, tuple[int, float]] = OrderedDict()
        self._lock = threading.Lock()

    def _digest(self, username: str, password: str) -> bytes:
        text = f"{username}\0{password}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, text, hashlib.sha256)

    def find(self, username: str, password: str) -> int | None:
        digest = self._digest(username, password)
        with self._lock:
            entry = self._entries.get(digest)
            if entry is None:
                return None
            if entry[1] < time.monotonic():
                del self._entries[digest]
                return None
            return entry[0]

    def remember(self, username: str, password: str, user_id: int) -> None:
        with self._lock:
            self._entries[self._digest(username, password)] = (user_id, time.monotonic() + self._ttl_seconds)
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)


class Authenticator:
    """Finds the caller of a request. One per app."""

    def __init__(self, settings: ApiSettings, storage: Storage) -> None:
        self._settings = settings
        self._storage = storage
        self._basic = BasicMemory()
        self._password_checks = anyio.CapacityLimiter(PASSWORD_CHECKS_AT_ONCE)

    async def authenticate(self, request: Request) -> Caller:
        """The caller.

        Raises:
            NotAuthenticated: no credentials where they are needed, or wrong ones.
            AccessDenied: a session without its CSRF token.
            TooManyRequests, Busy: too many wrong passwords, or too many checks at once.
        """
        header = request.headers.get("authorization")
        if header is not None:
            scheme, _, value = header.partition(" ")
            match scheme.lower():
                case "bearer" | "token":
                    return await run_in_threadpool(self._by_token, token_secret_of(request))
                case "basic":
                    return await self._by_basic(value.strip(), address_of(request))
                case _:
                    raise NotAuthenticated("Authorization is to be Bearer, Token or Basic.")
        return await run_in_threadpool(self._by_cookie, request)

    async def check_password(self, username: str, password: str, address: str) -> User:
        """The user with this password, checked in a thread.

        Raises:
            NotAuthenticated, TooManyRequests: see `storage.users.authenticate`.
            Busy: too many checks are waiting.
        """
        if len(username) > MAX_SECRET_CHARACTERS or len(password) > MAX_SECRET_CHARACTERS or "\0" in username:
            raise NotAuthenticated(WRONG_CREDENTIALS)
        if self._password_checks.statistics().tasks_waiting >= MAX_WAITING_PASSWORD_CHECKS:
            raise Busy("Many people are logging in just now; try again in a moment.", 2)
        return await anyio.to_thread.run_sync(
            self._check_password, username, password, address, limiter=self._password_checks
        )

    def _check_password(self, username: str, password: str, address: str) -> User:
        if self._settings.is_local:
            local = self._local_admin_without_password(username)
            if local is not None:
                return local
        return users.authenticate(
            self._storage.database,
            username,
            password,
            address,
            max_failures_per_minute=self._settings.login_rate_per_minute,
        )

    def _local_admin_without_password(self, username: str) -> User | None:
        """In local mode any password opens an account that has none: everybody here is its owner anyway."""
        if username.lower() != LOCAL_ADMIN:
            return None
        user = self._local_admin()
        with self._storage.database.read() as conn:
            return None if users.has_password(conn, user.id) else user

    def _by_token(self, secret: str) -> Caller:
        found = tokens.verify(self._storage.database, secret) if secret else None
        if found is None:
            raise NotAuthenticated("Invalid token.")
        user, token = found
        return Caller(user, "token", token.read_only, token.id, token.kind)

    async def _by_basic(self, value: str, address: str) -> Caller:
        try:
            text = base64.b64decode(value, validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError):
            raise NotAuthenticated("Invalid basic header: base64 of user:password in UTF-8 is expected.") from None
        username, colon, password = text.partition(":")
        if not colon:
            raise NotAuthenticated("Invalid basic header: there is no colon between user and password.")
        user_id = self._basic.find(username, password)
        if user_id is not None:
            user = await run_in_threadpool(self._active_user, user_id)
            if user is not None:
                return Caller(user, "basic")
        user = await self.check_password(username, password, address)
        self._basic.remember(username, password, user.id)
        return Caller(user, "basic")

    def _active_user(self, user_id: int) -> User | None:
        with self._storage.database.read() as conn:
            try:
                user = users.get(conn, user_id)
            except NotFound:
                return None
        return user if user.is_active else None

    def _by_cookie(self, request: Request) -> Caller:
        session_key = session_key_of(request)
        if session_key:
            with self._storage.database.read() as conn:
                session = sessions.find(conn, session_key)
            if session is not None:
                if request.method not in ("GET", "HEAD", "OPTIONS"):
                    check_csrf(request, session.csrf_token)
                return Caller(session.user, "session")
        if not self._settings.is_local:
            raise NotAuthenticated("Authentication credentials were not provided.")
        return Caller(self._local_admin(), "local")

    def _local_admin(self) -> User:
        with self._storage.database.read() as conn:
            user = users.find(conn, LOCAL_ADMIN)
        if user is None:
            with self._storage.database.write() as conn:
                user = users.ensure_local_admin(conn, LOCAL_ADMIN)
        if not user.is_active:
            raise NotAuthenticated("The local admin is switched off; log in with another account.")
        return user


WRONG_CREDENTIALS = "Unable to log in with provided credentials."


def address_of(request: Request) -> str:
    return request.client.host if request.client else ""


def cookies_of(request: Request) -> dict[str, str]:
    # Several Cookie headers are legal in HTTP/2 and some proxies split them.
    return cookie_parser("; ".join(request.headers.getlist("cookie")))


def token_secret_of(request: Request) -> str:
    """The secret of a Bearer or Token header; "" where there is none that could be one."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    secret = value.strip()
    could_be = len(secret) <= MAX_SECRET_CHARACTERS and secret.isascii() and secret.isprintable()
    return secret if could_be and scheme.lower() in ("bearer", "token") else ""


def session_key_of(request: Request) -> str:
    key = cookies_of(request).get("sessionid", "")
    return key if len(key) <= 256 and key.isascii() and key.isalnum() else ""


def check_csrf(request: Request, csrf_token: str) -> None:
    """The header must repeat the session's token; the Origin was checked for every request (`security.py`).

    Raises:
        AccessDenied: it does not.
    """
    sent = request.headers.get("x-csrftoken", "")
    if not hmac.compare_digest(sent.encode("utf-8", "replace"), csrf_token.encode()):
        raise AccessDenied("CSRF Failed: CSRF token missing or incorrect.", code="access.csrf")
