"""Where the parts meet: settings become a store, a queue, an API, and the processes that run them."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import orjson
import structlog
import uvicorn
from fastapi import FastAPI

from app import __version__
from app.api import ApiSettings, Services, build_app, guarded_protocol, reserve_room
from app.background import TEMPORARY, open_request_queue, open_store, when_ready
from app.errors import AppError, Busy, NoSpace, NotFound
from app.formats import FORMATS
from app.heap import bound_heap
from app.requests import if_none_lives
from app.settings import Settings
from app.spools import keep_temporary_files
from app.steps import die_at
from app.storage import Moved, Storage, move, requests, tokens, users
from app.streams import StreamPool
from app.supervisor import Supervisor, exit_with_parent
from app.telemetry import set_up_logging

log = structlog.get_logger(__name__)

LOCAL_USER = "admin"
BACKLOG = 2048
BIND_SECONDS, BIND_PAUSE_SECONDS = 4.0, 0.1
MIN_OPEN_FILES, MAX_OPEN_FILES = 64, 65_536


def api_settings_of(settings: Settings) -> ApiSettings:
    """The edge's plain values: those of its fields that settings have under the same name, and the parsed lists."""
    same = {
        field.name: getattr(settings, field.name)
        for field in fields(ApiSettings)
        if field.name in Settings.model_fields
    }
    lists = {
        "allowed_hosts": settings.allowed_host_list(),
        "allowed_origins": settings.allowed_origin_list(),
        "public_url": settings.public_url.rstrip("/"),
    }
    return ApiSettings(**{**same, **lists})


def create_app(settings: Settings) -> FastAPI:
    """The web application over an open (and migrated) store of these settings."""
    storage = open_store(settings, migrate=False, connections=settings.database_connections)
    queue = open_request_queue(settings)
    streams = StreamPool([sys.executable, "-m", "app.cli", "child-stream"])
    services = Services(
        settings=api_settings_of(settings),
        storage=storage,
        queue=queue,
        version=__version__,
        formats=FORMATS,
        stream_export=streams.stream,
    )

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        streams.warm()
        yield
        streams.close()
        queue.close()
        storage.close()

    app = build_app(services)
    app.router.lifespan_context = lifespan
    return app


def prepare(settings: Settings) -> None:
    """Create the data folder, bring the database to this version, make the local user where no login is asked for.

    Raises:
        Damaged: the database cannot be read; it is left as it is.
    """
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    storage = open_store(settings, migrate=True)
    try:
        if settings.auth_mode == "local":
            with storage.database.write() as conn:
                users.ensure_local_admin(conn)
        if storage.database.file is not None:  # of another shape workers live on other machines
            end_dead_leases(storage, settings.data_dir)
    finally:
        storage.close()


def end_dead_leases(storage: Storage, data_dir: Path) -> None:
    """After a crash of all processes: work that was running need not wait until its lease is over."""
    with if_none_lives(data_dir) as none_lives:
        if not none_lives:
            return
        try:
            with storage.database.read() as conn:
                if not requests.counts(conn)["started"]:
                    return
            with storage.database.write() as conn:
                n_ended = requests.end_leases(conn)
        except (Busy, NoSpace) as error:  # then it waits
            log.warning("leases of dead workers could not be ended", reason=error.detail)
        else:
            log.info("work of dead workers goes on", requests=n_ended)


def pass_on(settings: Settings) -> None:
    """Put the settings into the environment, where child processes find them."""
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        if value != field.default:
            os.environ[f"ANNOPORT_{name.upper()}"] = str(value)
    os.environ["ANNOPORT_DATA_DIR"] = str(settings.data_dir.resolve())


def uvicorn_config(settings: Settings, app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=guarded_protocol(
            header_timeout_seconds=settings.header_timeout_seconds, max_header_bytes=settings.max_header_bytes
        ),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=True,
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_keep_alive=settings.keepalive_seconds,
        timeout_graceful_shutdown=settings.stop_timeout_seconds,
        limit_concurrency=settings.max_connections,
        backlog=BACKLOG,
    )


def raise_file_limit() -> None:
    """Allow this process as many open files as it may have: each connection is one, and shells allow 1024.

    Raises:
        AppError: it may not have enough for a service.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < MIN_OPEN_FILES:
        raise AppError(
            f"no more than {hard} files may be open at once here, and the service needs {MIN_OPEN_FILES} at least, one "
            "more for each connection; raise the limit (ulimit -n)"
        )
    wanted = min(hard, MAX_OPEN_FILES) if hard != resource.RLIM_INFINITY else MAX_OPEN_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def bind(settings: Settings) -> socket.socket:
    """The socket that is to listen; all web processes share it.

    Raises:
        AppError: the address cannot be had. Where web processes of this folder outlived their parent it is theirs until
            they see that, and is waited for.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    deadline = time.monotonic() + BIND_SECONDS
    while True:
        try:
            listener.bind((settings.host.strip("[]"), settings.port))
            break
        except OSError as error:
            is_ours = error.errno == errno.EADDRINUSE and left_metrics(settings.data_dir)
            if not is_ours or time.monotonic() > deadline:
                listener.close()
                raise not_listening(settings, error) from error
        time.sleep(BIND_PAUSE_SECONDS)
    listener.set_inheritable(True)
    return listener


def listen(listener: socket.socket, settings: Settings) -> None:
    """From now on clients wait for an answer; before, they are told that nobody is there. Raises AppError."""
    try:
        listener.listen(BACKLOG)
    except OSError as error:  # somebody else was as quick
        raise not_listening(settings, error) from error


def not_listening(settings: Settings, error: OSError) -> AppError:
    """What to say, and what to do about it."""
    if error.errno == errno.EADDRINUSE:
        why = "another program has it, perhaps annoport is running already; stop that one, or take another port"
    elif error.errno == errno.EACCES:
        why = f"{error.strerror}; take a port above 1023"
    else:
        why = f"{error.strerror}; take an address of this machine (--host), or another port"
    what_to_do = "annoport serve --port NUMBER; 0 picks a free one"
    return AppError(f"cannot listen on {settings.host} port {settings.port}: {why} ({what_to_do})")


def announce(settings: Settings, port: int) -> None:
    """Tell the person at the terminal where to go, where the data is, and how to get in."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)
    here = f"http://{host}:{port}"
    address = settings.public_url or here
    if settings.auth_mode == "local":
        way_in = f"not needed on this machine; clients that insist: user {LOCAL_USER}, any password"
    else:
        way_in = "with a user's name and password; add one: annoport user add NAME --password P --admin"
    print(f"annoport {__version__} serves {address}", file=sys.stdout)
    if settings.public_url:
        print(f"  here    {here}, for the proxy")
    print(f"  data    {settings.data_dir.resolve()}")
    print(f"  log in  {way_in}")
    print("  stop    Ctrl-C", flush=True)


class Server(uvicorn.Server):
    """Tells the application that it ends, so that calls which wait for something are answered at once."""

    def __init__(self, settings: Settings, app: FastAPI) -> None:
        super().__init__(uvicorn_config(settings, app))
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.is_stopping = True
        await super().shutdown(sockets)


class AnnouncingServer(Server):
    """Announces itself when it really answers. Where `stop` is set by then, it ends: until now signals were not its."""

    def __init__(self, settings: Settings, app: FastAPI, port: int, stop: threading.Event) -> None:
        super().__init__(settings, app)
        self._settings, self._port, self._stop = settings, port, stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._stop.is_set():
            self.should_exit = True
        elif self.started:
            announce(self._settings, self._port)


def metrics_folder(data_dir: Path) -> Path:
    """An empty folder for the numbers that the web processes of one `serve` share."""
    folder = data_dir.resolve() / f"metrics-{os.getpid()}"
    folder.mkdir(mode=0o700)
    return folder


def left_metrics(data_dir: Path) -> list[Path]:
    """The folders of those that were killed."""
    numbers = ((left, left.name.removeprefix("metrics-")) for left in data_dir.glob("metrics-*"))
    return [left for left, number in numbers if number == str(os.getpid()) or not _is_running(number)]


def _is_running(number: str) -> bool:
    try:
        os.kill(int(number), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        pass  # somebody else's, and alive
    return True


def run_service(settings: Settings) -> int:
    """`annoport serve`: prepare, start the children, serve until SIGTERM; returns the exit code."""
    bound_heap()
    set_up_logging(settings.log_level, settings.log_format)
    die_at(settings.fail_point)
    raise_file_limit()
    listener = bind(settings)  # before anything is made or migrated
    for left in left_metrics(settings.data_dir):
        shutil.rmtree(left, ignore_errors=True)
    when_ready(lambda: prepare(settings))
    keep_temporary_files(settings.data_dir / TEMPORARY)
    pass_on(settings)
    listen(listener, settings)
    port = listener.getsockname()[1]
    stop = threading.Event()
    # uvicorn takes these signals while it serves, and raises them again when it is done: then they are ours.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    supervisor = Supervisor(settings.stop_timeout_seconds)
    if settings.workers:
        supervisor.add(["worker"], settings.workers)
    metrics = metrics_folder(settings.data_dir) if settings.web_processes > 1 else None
    try:
        if metrics is None:
            supervisor.start()
            AnnouncingServer(settings, create_app(settings), port, stop).run(sockets=[listener])
        else:
            fd = listener.fileno()
            # Any of them may be asked for the metrics of all: prometheus-client's own way of sharing them.
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)
            supervisor.add(["child-web", "--fd", str(fd)], settings.web_processes, pass_fds=(fd,))
            supervisor.start()
            announce(settings, port)
            stop.wait()
    finally:
        supervisor.stop()
        listener.close()
        if metrics is not None:
            shutil.rmtree(metrics, ignore_errors=True)
    return 0


def run_web_process(settings: Settings, fd: int, parent_fd: int | None) -> None:
    """One of several web processes on a socket that `serve` has bound."""
    bound_heap()
    set_up_logging(settings.log_level, settings.log_format)
    die_at(settings.fail_point)
    raise_file_limit()
    reserve_room()
    listener = socket.socket(fileno=fd)
    server = Server(settings, create_app(settings))
    if parent_fd is not None:
        parent_gone = threading.Event()
        exit_with_parent(parent_fd, parent_gone)

        def leave() -> None:
            parent_gone.wait()
            server.should_exit = True

        threading.Thread(target=leave, daemon=True).start()
    server.run(sockets=[listener])


def migrate_storage(settings: Settings) -> None:
    """Create the database, or bring it to this version."""
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    open_store(settings, migrate=True).close()


def move_store(settings: Settings, target: Settings, tell: Callable[[str], None]) -> Moved:
    """Copy everything of the store of these settings into the empty one of the others, and compare."""
    source = open_store(settings, migrate=True)
    try:
        into = open_store(target, migrate=True)
        try:
            return move(source, into, tell)
        finally:
            into.close()
    finally:
        source.close()


def add_user(settings: Settings, name: str, password: str, is_admin: bool, email: str) -> None:
    """Add an account; the store is created if this is the first thing that happens to it."""
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    storage = open_store(settings, migrate=True)
    try:
        with storage.database.write() as conn:
            users.create(conn, name, password, email=email, is_admin=is_admin)
    finally:
        storage.close()


def add_token(settings: Settings, username: str, name: str, read_only: bool) -> str:
    """A new access token's secret."""
    storage = open_store(settings, migrate=True)
    try:
        with storage.database.write() as conn:
            user = users.find(conn, username)
            if user is None:
                raise NotFound("user", username, f"there is no user {username!r}")
            return tokens.create(conn, user.id, name, read_only=read_only)[1]
    finally:
        storage.close()


def openapi_text() -> str:
    """The contract, the same bytes on every run; needs no store."""
    nothing: Any = None
    services = Services(ApiSettings(), storage=nothing, queue=nothing, version=__version__, formats=FORMATS)
    document = build_app(services).openapi()
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode() + "\n"
