"""`python -m tests.fuzz NAME --seconds N`: guided by coverage (atheris); `all` goes through all targets in turn."""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

READERS = [
    *("app.archive", "app.columns", "app.images", "app.formats.open_images"),
    *("app.api.forms", "app.api.tus", "app.api.bodies", "app.api.decoding", "app.api.outline"),
]
"""What is looked into; the rest of the service is imported as it is."""


def guided(name: str, seconds: int) -> int:
    """Run atheris; it ends the process itself, with an exit code of its own."""
    import atheris

    with atheris.instrument_imports(include=READERS):
        from tests.fuzz.targets import TARGETS

    fuzzed = TARGETS[name]
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(fuzzed.seeds()):
            (Path(folder) / f"seed-{number}").write_bytes(seed)
        options = [f"-max_total_time={seconds}", "-rss_limit_mb=2048", "-timeout=10", "-print_final_stats=1"]
        options.append(f"-artifact_prefix={tempfile.gettempdir()}/fuzz-{name}-")
        atheris.Setup([sys.argv[0], *options, folder], fuzzed.run)
        atheris.Fuzz()
    return 0


def unguided(name: str, seconds: int) -> int:
    """Random changes of the seeds."""
    from tests.fuzz.targets import TARGETS, mutate

    fuzzed, chance = TARGETS[name], random.Random(name)
    seeds, deadline, n_runs = fuzzed.seeds(), time.monotonic() + seconds, 0
    for seed in seeds:
        fuzzed.run(seed)
    while time.monotonic() < deadline:
        data = mutate(chance.choice(seeds), chance)
        try:
            fuzzed.run(data)
        except Exception:
            place = Path(tempfile.gettempdir()) / f"fuzz-{name}-crash"
            place.write_bytes(data)
            print(f"the input is in {place}", file=sys.stderr)
            raise
        n_runs += 1
    print(f"{name}: {n_runs} runs, nothing found")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("name")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--unguided", action="store_true", help="random changes, not guided by coverage")
    given = parser.parse_args()
    if given.name == "all":
        from tests.fuzz.targets import TARGETS

        more = ["--unguided"] if given.unguided else []
        command = [sys.executable, "-m", "tests.fuzz"]
        codes = [subprocess.call([*command, name, "--seconds", str(given.seconds), *more]) for name in TARGETS]
        return max(codes)
    return unguided(given.name, given.seconds) if given.unguided else guided(given.name, given.seconds)


if __name__ == "__main__":
    raise SystemExit(main())
