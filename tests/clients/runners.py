"""How tests run CVAT's clients: `cli` for the command line, `sdk` for a script that uses the SDK."""

from __future__ import annotations

import base64
import json
import subprocess
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.environments import SCRIPT_SECONDS, clean_environ, python_of, run_script
from tests.service import ADMIN, PASSWORD, Running

FORMAT = "Open Images V6 1.0"
SCRIPTS = Path(__file__).parent / "scripts"


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Clients:
    """CVAT's clients for one service, with a home folder of their own (they keep profiles and caches there)."""

    service: Running
    home: Path

    def environ(self, **more: str) -> dict[str, str]:
        places = {f"XDG_{kind}_HOME": str(self.home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA", "STATE")}
        return clean_environ(HOME=str(self.home), **places, **more)

    def cli(self, *arguments: str, auth: str | None = f"{ADMIN}:{PASSWORD}", ok: bool = True, **environ: str) -> Ended:
        """`cvat-cli`, logged in with `auth` (None: whatever the environment variables say)."""
        command = [str(python_of("client")), "-m", "cvat_cli", "--server-host", self.service.url]
        command += ["--auth", auth] if auth is not None else []
        done = subprocess.run(
            [*command, *arguments],
            env=self.environ(**environ),
            capture_output=True,
            text=True,
            timeout=300,
            cwd=self.home,
        )
        if ok and done.returncode:
            raise AssertionError(f"cvat-cli {' '.join(arguments)}\n{done.stdout}\n{done.stderr}\n{self.service.tail()}")
        return Ended(done.returncode, done.stdout, done.stderr)

    def sdk(self, script: str, *, wait_seconds: float = SCRIPT_SECONDS, **request: Any) -> Any:
        """A script of `scripts/`; it gets the address and the password beside `request`."""
        told = {"url": self.service.url, "user": ADMIN, "password": PASSWORD, "format": FORMAT, **request}
        try:
            return run_script("client", SCRIPTS / f"{script}.py", told, environ=self.environ(), timeout=wait_seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n--- the service said:\n{self.service.tail()}") from None

    def get(self, path: str) -> Any:
        """A plain GET with a password in the header, as scripts do it."""
        return json.loads(self.raw("GET", path)[1])

    def raw(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        secret = base64.b64encode(f"{ADMIN}:{PASSWORD}".encode()).decode()
        given = {"Authorization": f"Basic {secret}", **{key.replace("_", "-"): value for key, value in headers.items()}}
        request = urllib.request.Request(f"{self.service.url}{path}", data=body, method=method, headers=given)
        with urllib.request.urlopen(request, timeout=180) as answer:
            return answer.status, answer.read(), dict(answer.headers)
