"""What the service takes when nobody asks for anything: start, memory, CPU, and what an installation weighs.

    python -m tests.bench.footprint [--idle-seconds 30]

Installed size and packages are those that `pip install annoport` brings, by the metadata of this environment.
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
import time
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from tests.processes import Meter, family, look
from tests.service import running_service

MIB = 1 << 20


def requirements(name: str, found: dict[str, int]) -> dict[str, int]:
    """Bytes on disk by package: `name` and all that it needs, without extras."""
    key = re.sub(r"[-_.]+", "-", name).lower()
    if key in found:
        return found
    try:
        package = distribution(name)
    except PackageNotFoundError:
        return found  # for another system
    found[key] = sum(size for file in package.files or () if (size := _size(Path(str(file.locate())))))
    for line in package.requires or ():
        needed, _, marker = line.partition(";")
        asked = re.match(r"[A-Za-z0-9._-]+(\[[^\]]*\])?", needed.strip())
        if asked is None or "extra ==" in marker:
            continue
        requirements(asked[0].partition("[")[0], found)
    return found


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def private_mib(pid: int) -> float:
    """Memory that is this process's share: what is shared counts in part (PSS)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def report(idle_seconds: float, starts: int = 3) -> str:
    lines, seconds = [], []
    for start in range(starts):
        with tempfile.TemporaryDirectory(prefix="annoport-foot-") as folder:
            began = time.perf_counter()
            with running_service(Path(folder), auth_mode="local") as service:
                seconds.append(time.perf_counter() - began)
                if start < starts - 1:
                    continue
                time.sleep(min(idle_seconds, 5))  # workers are up
                with Meter(service.process.pid, pause=1.0) as meter:
                    time.sleep(idle_seconds)
                for pid in family(service.process.pid):
                    use = look(pid)
                    if use:
                        words = re.search(r"app\.cli (\S+)", use.command)
                        lines.append(
                            f"  {words[1] if words else use.command[:40]:14} {resident_mib(pid):6.0f} MiB resident"
                            f" {private_mib(pid):6.0f} MiB its share"
                        )
    packages = requirements("annoport", {})
    largest = sorted(packages.items(), key=lambda item: -item[1])[:6]
    total = sum(packages.values())
    return "\n".join(
        [
            f"start until the first answer    {statistics.median(seconds):.2f} s (median of {starts})",
            f"CPU while idle                  {meter.cpu_seconds / idle_seconds * 100:.2f} % of a core",
            *lines,
            f"installed                       {total / MIB:.0f} MiB, {len(packages)} packages; largest: "
            + ", ".join(f"{name} {size / MIB:.0f}" for name, size in largest),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Tell what the idle service takes.")
    parser.add_argument("--idle-seconds", type=float, default=30.0, help="(%(default)s)")
    given = parser.parse_args()
    print(report(given.idle_seconds))


if __name__ == "__main__":
    main()
