"""`python -m tests.load [--seconds 60] [--clients 32] [--stalled 150]`"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.load.run import N_CLIENTS, N_STALLED, SECONDS, load_embedded


def main() -> int:
    """Exit code 0 without an error."""
    parser = argparse.ArgumentParser(prog="python -m tests.load")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--clients", type=int, default=N_CLIENTS)
    parser.add_argument("--stalled", type=int, default=N_STALLED)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = load_embedded(Path(folder), given.seconds, given.clients, given.stalled)
    print(outcome)
    return 1 if outcome.errors else 0


if __name__ == "__main__":
    raise SystemExit(main())
