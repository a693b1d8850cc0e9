"""`python -m tests.kills --rounds 1000 [--seed 1] [--actors 4] [--webs 1]`"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.kills.actors import Actor
from tests.kills.project_actors import ProjectActor
from tests.kills.run import N_ACTORS, kill_rounds
from tests.kills.shapes import Embedded


def main() -> int:
    """Exit code 0 where every promise was kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.kills")
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--actors", type=int, default=N_ACTORS)
    parser.add_argument("--webs", type=int, default=1, help="web processes")
    parser.add_argument("--projects", type=int, default=0, help="actors on whole projects, beside the others")
    parser.add_argument("--power-cuts", type=float, default=0.0, help="share of the kills that take all processes")
    parser.add_argument("--log", type=Path, help="where the service's log stays")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        shape = Embedded(Path(folder), webs=given.webs, log=given.log)
        actors = [*(Actor,) * given.actors, *(ProjectActor,) * given.projects]
        outcome = kill_rounds(shape, given.rounds, given.seed, actors, power_cuts=given.power_cuts)
        print(outcome)
        print(f"longest start {max(shape.restarts):.2f} s")
        if outcome.broken:
            print(shape.tail(60))
    return 1 if outcome.broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
