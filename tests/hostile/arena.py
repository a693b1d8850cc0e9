"""A running service with one task of known annotations, and shots at it that are measured."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.caller import FINAL, Caller
from tests.hostile.archives import Bad
from tests.hostile.parts import FRAMES, LABELS, tree
from tests.hostile.pictures import BadPicture
from tests.processes import Use, family, look, reset_peak
from tests.samples import picture
from tests.service import Service, running_service

MAX_SECONDS = 20.0
MAX_EXTRA_MIB = 400.0
HELPER = "-c from app.helpers"


@dataclass(frozen=True)
class Shot:
    """What one archive brought about.

    Attributes:
        cpu_seconds: of all the service's processes; what is bounded, as other programs make the clock's time longer.
        extra_mib: how far the process that grew most went over what it held before.
    """

    status: int
    answer: Any
    seconds: float
    cpu_seconds: float
    extra_mib: float

    @property
    def code(self) -> str:
        return str(self.answer.get("code", ""))

    def __str__(self) -> str:
        cost = f"{self.seconds:6.2f} s {self.cpu_seconds:6.2f} s CPU {self.extra_mib:+5.0f} MiB"
        return f"{self.status} {self.code:22} {cost}"

    def fails_to_name(self, bad: BadPicture) -> str:
        """What is wrong with the refusal of a bad picture, or nothing."""
        if self.status != 200 or self.answer["status"] != "failed":
            return f"not refused: {self.status} {str(self.answer)[:300]}"
        message = str(self.answer["message"])
        if bad.named not in message or not 0 < len(message) < 1000 or not message.isprintable() or "0x" in message:
            return f"{bad.named} is not named: {message[:300]!r}"
        return ""

    def is_no_answer(self) -> str:
        """What is wrong with an answer to somebody who looks at a picture, or nothing."""
        if self.status == 200:
            return "" if self.answer["bytes"] else "nothing came"
        return "" if self.status == 400 and self.code == "image.bad" else f"{self.status} {str(self.answer)[:300]}"

    def costs_too_much(self) -> str:
        """Why it does, or nothing."""
        if self.cpu_seconds > MAX_SECONDS:
            return f"{self.cpu_seconds:.1f} s"
        return f"+{self.extra_mib:.0f} MiB" if self.extra_mib > MAX_EXTRA_MIB else ""

    def misses(self, bad: Bad) -> str:
        """What is wrong with the refusal of a bad archive, or nothing."""
        if self.status != bad.status:
            return f"status {self.status}, not {bad.status}: {str(self.answer)[:500]}"
        problems = [problem for problem in self.answer["problems"] if problem["severity"] == "error"]
        if not any(names(problem, bad) for problem in problems):
            wanted = (bad.code, bad.file, bad.row, bad.column, bad.value)
            return f"no problem names {wanted}: {[{**p, 'message': p['message'][:200]} for p in problems[:3]]}"
        if problems[0]["code"] not in str(self.answer["detail"]) or len(str(self.answer["detail"])) > 4000:
            return f"the sentence is wrong: {str(self.answer['detail'])[:300]}"
        if self.answer["counts"].get(bad.code, 0) < 1:
            return f"not counted: {self.answer['counts']}"
        return ""


def names(problem: Any, bad: Bad) -> bool:
    """Whether a problem is the one that must be told, with its place."""
    text = f"{problem['message']} {problem['value']}"
    return (
        problem["code"] == bad.code
        and (bad.file is None or problem["file"] == bad.file)
        and (bad.row is None or problem["row"] == bad.row)
        and (bad.column is None or problem["column"] == bad.column)
        and (bad.value is None or bad.value in text)
        and len(text) < 2000
        and all(character.isprintable() for character in text)
    )


class Arena:
    """The service, its task, and how its annotations look."""

    def __init__(self, service: Service, caller: Caller) -> None:
        self.service, self.caller = service, caller
        pictures = {
            name: picture(*size, kind="PNG" if name.endswith("png") else "JPEG") for name, size in FRAMES.items()
        }
        self.task = caller.task("arena", [{"name": name} for name in LABELS], pictures)
        assert self.shoot(tree()).status == 200, "a sound archive must be taken"
        self.before = self.state()

    def state(self) -> Any:
        """All annotations of the task."""
        return self.caller.annotations(self.task)

    def change(self) -> str:
        """What is other than before, or nothing."""
        now = self.state()
        return "" if now == self.before else f"the task has changed: {str(now)[:300]}"

    def shoot(self, body: bytes, **query: str) -> Shot:
        """Import by the one-call door, and measure."""
        path = f"/api/tasks/{self.task}/import"
        return self.measured(lambda: self.caller.http.post(path, params={"wait": "150", **query}, content=body))

    def new_task(self) -> int:
        """A task without pictures."""
        return int(self.caller.json("POST", "/api/tasks", json={"name": "x", "labels": [{"name": "a"}]})["id"])

    def attach(self, task: int, file: str, body: bytes) -> Shot:
        """Upload one picture (or a zip of some), and measure until the request that attaches it is final."""

        def call() -> httpx.Response:
            answer = self.caller.http.post(f"/api/tasks/{task}/data", files={"client_files[0]": (file, body)})
            if not answer.is_success:
                return answer
            while True:
                answer = self.caller.http.get(f"/api/requests/{answer.json()['rq_id']}")
                if answer.json()["status"] in FINAL:
                    return answer

        return self.measured(call)

    def look_at(self, task: int, path: str) -> Shot:
        """Fetch something of a task, and measure."""
        return self.measured(lambda: self.caller.http.get(f"/api/tasks/{task}/{path}"))

    def measured(self, call: Callable[[], httpx.Response]) -> Shot:
        """One call and what it cost the service."""
        pids = family(self.service.process.pid)
        held: dict[int, Use] = {}
        for pid in pids:
            reset_peak(pid)
            use = look(pid)
            if use is not None and HELPER not in use.command:  # those of the work before end when they like
                held[pid] = use
        began = time.monotonic()
        answer = call()
        seconds = time.monotonic() - began
        now = {pid: use for pid in held if (use := look(pid)) is not None}
        assert len(now) == len(held), f"a process of the service died\n{self.service.tail()}"
        cpu_seconds = sum(use.cpu_seconds - held[pid].cpu_seconds for pid, use in now.items())
        extra_mib = max(use.peak_mib - held[pid].peak_mib for pid, use in now.items())
        is_json = answer.headers.get("content-type", "").startswith("application/json")
        told = answer.json() if is_json else {"bytes": len(answer.content)}
        return Shot(answer.status_code, told, seconds, cpu_seconds, extra_mib)


@contextlib.contextmanager
def open_arena(folder: Path, auth_mode: str = "users") -> Iterator[Arena]:
    # One worker: it has been warm before, and what it holds is what is measured.
    with (
        running_service(folder, auth_mode=auth_mode, arguments=("--workers", "1")) as service,
        Caller(service) as caller,
    ):
        yield Arena(service, caller)
