"""Actors at work, and kills among them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tests.kills.actors import Actor, Broken
from tests.kills.shapes import Shape
from tests.kills.store import check_store
from tests.processes import runs

N_ACTORS = 4
Maker = Callable[[Callable[[], str], int, dict[str, str]], Actor]
QUIET_SECONDS = 30.0


@dataclass
class Outcome:
    """What a run brought about."""

    n_rounds: int = 0
    n_killed: Counter[str] = field(default_factory=Counter)
    n_done: Counter[str] = field(default_factory=Counter)
    n_cut: int = 0
    seconds: float = 0.0
    broken: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        killed = ", ".join(f"{n} {role}" for role, n in sorted(self.n_killed.items()))
        done = ", ".join(f"{n} {what}" for what, n in sorted(self.n_done.items()))
        broken = "".join(f"\n  BROKEN {one}" for one in self.broken)
        return (
            f"{self.n_rounds} kills ({killed}) in {self.seconds:.0f} s; done {done}; {self.n_cut} calls cut; "
            f"{len(self.broken)} promises broken{broken}"
        )


@contextlib.contextmanager
def at_work(
    shape: Shape, outcome: Outcome, seed: int, made: Sequence[Maker], headers: dict[str, str]
) -> Iterator[list[Actor]]:
    """Actors, each in a thread; at the end they check everything they were promised."""
    stop = threading.Event()
    actors = [make(shape.url, seed * 100 + number, headers) for number, make in enumerate(made)]

    def live(actor: Actor) -> None:
        try:
            while not stop.is_set() and not outcome.broken:
                actor.step()
            actor.finish()
        except Broken as error:
            outcome.broken.append(str(error))
        except Exception as error:  # a mistake of this test is no promise kept
            outcome.broken.append(f"{type(error).__name__}: {error}")

    for actor in actors:
        actor.begin()
    threads = [threading.Thread(target=live, args=(actor,)) for actor in actors]
    for thread in threads:
        thread.start()
    try:
        yield actors
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        for actor in actors:
            outcome.n_done += actor.n_done
            outcome.n_cut += actor.n_cut
            actor.close()


def kill_rounds(
    shape: Shape,
    n_rounds: int,
    seed: int = 1,
    actors: Sequence[Maker] = (Actor,) * N_ACTORS,
    headers: dict[str, str] | None = None,
    *,
    power_cuts: float = 0.0,
) -> Outcome:
    """Kill a process at a random moment, `n_rounds` times, while actors work; then check the store.

    The shape is stopped at the end.

    Args:
        power_cuts: the share of the rounds in which all processes die at once.
    """
    chance = random.Random(seed)
    outcome = Outcome()
    began = time.monotonic()
    with at_work(shape, outcome, seed, actors, headers or {}) as working:
        for _ in range(n_rounds):
            if outcome.broken:
                break
            # On a slow machine too somebody must get something done between two kills: answers alone are no progress,
            # where workers that are started again and again never come to their work.
            n_done, deadline = sum(actor.n_done.total() for actor in working), time.monotonic() + QUIET_SECONDS
            time.sleep(chance.uniform(0.05, 0.7))
            while sum(actor.n_done.total() for actor in working) == n_done and time.monotonic() < deadline:
                time.sleep(0.01)
            if power_cuts and chance.random() < power_cuts:
                shape.kill()
                outcome.n_killed["all at once"] += 1
                outcome.n_rounds += 1
                shape.revive()
                continue
            victims = shape.victims()
            roles = sorted({role for role, _ in victims})
            if not roles:
                continue
            role = chance.choice(roles)
            pid = chance.choice([pid for its_role, pid in victims if its_role == role])
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                outcome.n_killed[role] += 1
            outcome.n_rounds += 1
            while runs(pid):
                time.sleep(0.005)
            shape.revive()
    outcome.seconds = time.monotonic() - began
    shape.stop()
    outcome.broken += check_store(shape.open_store())
    return outcome
