"""A whole cluster on this machine, from the files of `docker/`: each process has a folder of its own, as on a machine
of its own, and may be killed and started again."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app.main import add_user
from app.settings import Settings
from tests import engines
from tests.engines import compose
from tests.ports import free_ports
from tests.processes import family
from tests.service import ADMIN, COMMAND, PASSWORD, annoport

ROOT = Path(__file__).resolve().parents[2]
NGINX_CONF = ROOT / "docker" / "nginx.conf"
START_SECONDS = 180.0


def nginx_program() -> str:
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip("nginx is not installed")
    return found


def nginx_conf(folder: Path, port: int, webs: list[int]) -> str:
    """The file of `docker/` with this machine's addresses in place of the network's."""
    text = NGINX_CONF.read_text()
    (listed,) = re.findall(r"^ *server web:8080.*;$", text, re.MULTILINE)
    text = text.replace(listed, "\n".join(listed.replace("web:8080", f"127.0.0.1:{web}") for web in webs))
    assert text.count("listen 8080;") == 1
    text = text.replace("listen 8080;", f"listen 127.0.0.1:{port};")
    return "daemon off;\n" + text.replace("/tmp/nginx", f"{folder}/nginx").replace("/dev/stderr", f"{folder}/nginx.log")


@dataclass
class Member:
    """One process of the cluster, dead or alive."""

    name: str
    command: list[str]
    environ: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    n_starts: int = 0

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        with self.log.open("ab") as sink:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environ},
                preexec_fn=engines.bound_to_parent(),
            )
        self.n_starts += 1

    def signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.is_alive:
            self.process.send_signal(number)

    def kill(self) -> None:
        """The process and its children, at once, as a machine that loses power."""
        if self.process is None:
            return
        for pid in family(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def stop(self, seconds: float = 120) -> int:
        self.signal(signal.SIGTERM)
        assert self.process is not None
        return self.process.wait(seconds)


@dataclass
class Cluster:
    """What `tests.service.Service` is for one process tree; clients and callers take either.

    Attributes:
        url: nginx's address.
        database_url, blob_url: of the shared stores.
    """

    folder: Path
    database_url: str
    blob_url: str
    environ: dict[str, str]
    url: str
    webs: list[Member] = field(default_factory=list)
    workers: list[Member] = field(default_factory=list)
    front: list[Member] = field(default_factory=list)
    auth_mode: str = "users"

    @property
    def members(self) -> list[Member]:
        return [*self.webs, *self.workers]

    @property
    def data_dir(self) -> Path:
        return self.folder / "tools"

    def tail(self, lines: int = 12) -> str:
        """The end of what each printed."""
        texts = []
        for member in [*self.members, *self.front]:
            if member.log.exists():
                said = member.log.read_text(errors="replace").splitlines()[-lines:]
                texts += [f"--- {member.name}", *said]
        return "\n".join(texts)

    def command(self, *arguments: str) -> str:
        """One command of the command line, in this cluster."""
        return annoport(*arguments, "--data-dir", str(self.data_dir), environ=self.environ)

    def wait_until_up(self) -> None:
        """Until nginx and every web process answer."""
        urls = [self.url, *(f"http://127.0.0.1:{web.environ['ANNOPORT_PORT']}" for web in self.webs)]
        deadline = time.monotonic() + START_SECONDS
        for url in urls:
            while not _is_ready(url):
                dead = [member.name for member in [*self.members, *self.front] if not member.is_alive]
                assert not dead, f"{dead} ended at the start\n{self.tail()}"
                assert time.monotonic() < deadline, f"no answer at {url}\n{self.tail()}"
                time.sleep(0.05)

    def stop(self) -> None:
        """SIGTERM to all; whatever does not end well is a failure."""
        codes = {}
        for member in [*self.members, *self.front]:
            member.signal(signal.SIGTERM)
        for member in [*self.members, *self.front]:
            try:
                codes[member.name] = member.process.wait(120) if member.process else None
            except subprocess.TimeoutExpired:
                codes[member.name] = None
            member.kill()
        assert set(codes.values()) == {0}, f"ended with {codes}\n{self.tail()}"


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health/ready", timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


@contextlib.contextmanager
def running_cluster(
    folder: Path, n_webs: int, n_workers: int, *, database_url: str = "", environ: Mapping[str, str] | None = None
) -> Iterator[Cluster]:
    """Migrate, add ADMIN, start everything, wait until it answers; stop it at the end."""
    program = nginx_program()
    bucket = engines.bucket()
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        database_url = database_url or stack.enter_context(engines.new_database())
        port, *ports = free_ports(1 + n_webs)
        shared = {
            **{
                name: str(value) for name, value in compose("compose.cluster.yaml")["x-annoport"]["environment"].items()
            },
            **bucket.environ,
            "ANNOPORT_DATABASE_URL": database_url,
            "ANNOPORT_BLOB_URL": bucket.place(),
            "ANNOPORT_AUTH_MODE": "users",
            "ANNOPORT_HOST": "127.0.0.1",
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
            **(environ or {}),
        }
        made = Cluster(folder, database_url, shared["ANNOPORT_BLOB_URL"], shared, f"http://127.0.0.1:{port}")
        made.command("migrate")
        # As `annoport user add` does, without a process for it.
        store = {"database_url": database_url, "blob_url": made.blob_url, "data_dir": made.data_dir}
        add_user(Settings(**store), ADMIN, PASSWORD, True, "")
        for number, web in enumerate(ports, 1):
            own = {**shared, "ANNOPORT_DATA_DIR": str(folder / f"web-{number}"), "ANNOPORT_PORT": str(web)}
            command = [*COMMAND, "serve", "--no-worker"]
            made.webs.append(Member(f"web-{number}", command, own, folder / f"web-{number}.log"))
        for number in range(1, n_workers + 1):
            own = {**shared, "ANNOPORT_DATA_DIR": str(folder / f"worker-{number}")}
            made.workers.append(Member(f"worker-{number}", [*COMMAND, "worker"], own, folder / f"worker-{number}.log"))
        conf = folder / "nginx.conf"
        conf.write_text(nginx_conf(folder, port, ports))
        made.front.append(Member("nginx", [program, "-c", str(conf)], {}, folder / "nginx.out"))
        try:
            for member in [*made.members, *made.front]:
                member.start()
            made.wait_until_up()
            yield made
        except BaseException:
            for member in [*made.members, *made.front]:
                member.kill()
            raise
        made.stop()


if __name__ == "__main__":  # a cluster to look at: python -m tests.cluster.processes FOLDER
    with running_cluster(Path(sys.argv[1]).absolute(), 2, 2) as running:
        print(f"{running.url}  {ADMIN} / {PASSWORD}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
