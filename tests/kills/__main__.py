"""`python -m tests.kills --rounds 1000 [--seed 1] [--actors 4] [--webs 1]`"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.kills.run import N_ACTORS, kill_rounds
from tests.kills.shapes import Embedded


def main() -> int:
    """Exit code 0 where every promise was kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.kills")
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--actors", type=int, default=N_ACTORS)
    parser.add_argument("--webs", type=int, default=1, help="web processes")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        shape = Embedded(Path(folder), webs=given.webs)
        outcome = kill_rounds(shape, given.rounds, given.seed, given.actors)
        print(outcome)
        print(f"longest start {max(shape.restarts):.2f} s")
        if outcome.broken:
            print(shape.tail(60))
    return 1 if outcome.broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
