"""The same work by the service and by datumaro, in turn, round by round; medians, and the ratio pair by pair.

Ours is the whole service over HTTP (upload, checks, database, fsync, download included), its CPU that of all its
processes; the peer is datumaro in a process of its own, from the zip on disk to annotations in memory and back to a
zip on disk, without a server or a database.

    python -m tests.bench.peer OUT.zip [--images …] [--rounds 3] [--json result.json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.bench.make_data import Files, counts_given
from tests.bench.run import Step, add_run_options, counted, one_round, prepare
from tests.environments import run_script
from tests.service import running_service

SCRIPT = Path(__file__).parent / "scripts" / "peer.py"
PEER_SECONDS = 3600

PAIRS = {
    "import, masks stay masks": ("masks", "import"),
    "export, streamed": ("masks", "export"),
    "import, masks to polygons": ("polygons", "import"),
    "export of the polygons, streamed": ("polygons", "export"),
}


@dataclass
class Ratio:
    """Medians of one step, ours and the peer's, and of the ratios of each round (peer over ours: higher is better)."""

    name: str
    our_wall: float
    peer_wall: float
    wall_ratio: float
    our_cpu: float
    peer_cpu: float
    cpu_ratio: float
    our_peak_mib: float
    peer_peak_mib: float


def peer_round(files: Files) -> dict[str, Any]:
    told = {}
    for kind in ("masks", "polygons"):
        request = {"archive": str(files.archive), "polygons": kind == "polygons"}
        told[kind] = run_script("judge", SCRIPT, request, timeout=PEER_SECONDS)
    return told


def compare(files: Files, rounds: int, rows: int) -> list[Ratio]:
    """Ours, the peer, ours, the peer, …"""
    ours: list[dict[str, Step]] = []
    peers: list[dict[str, Any]] = []
    with (
        tempfile.TemporaryDirectory(prefix="annoport-bench-") as folder,
        running_service(Path(folder), auth_mode="local") as service,
    ):
        for _ in range(rounds):
            ours.append({step.name: step for step in one_round(service, files, rows, Path(folder) / "out.zip")})
            peers.append(peer_round(files))
    result = []
    for name, (kind, part) in PAIRS.items():
        our = [each[name] for each in ours]
        peer = [each[kind][part] for each in peers]
        walls = [(one.wall_seconds, two["wall_seconds"]) for one, two in zip(our, peer, strict=True)]
        cpus = [(max(one.cpu_seconds, 0.01), two["cpu_seconds"]) for one, two in zip(our, peer, strict=True)]
        result.append(
            Ratio(
                name,
                statistics.median(one for one, _ in walls),
                statistics.median(two for _, two in walls),
                statistics.median(two / one for one, two in walls),
                statistics.median(one for one, _ in cpus),
                statistics.median(two for _, two in cpus),
                statistics.median(two / one for one, two in cpus),
                max(each.peak_mib for each in our),
                max(each["peak_mib"] for each in peer),
            )
        )
    return result


def table(ratios: list[Ratio]) -> str:
    lines = [
        f"{'':34}{'wall s':>17}{'':>9}{'CPU s':>17}{'':>9}{'peak MiB':>15}",
        f"{'step':34}{'ours':>8}{'peer':>9}{'ratio':>9}{'ours':>8}{'peer':>9}{'ratio':>9}{'ours':>7}{'peer':>8}",
    ]
    for each in ratios:
        lines.append(
            f"{each.name:34}{each.our_wall:8.2f}{each.peer_wall:9.2f}{each.wall_ratio:8.1f}x"
            f"{each.our_cpu:8.2f}{each.peer_cpu:9.2f}{each.cpu_ratio:8.1f}x{each.our_peak_mib:7.0f}{each.peer_peak_mib:8.0f}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the service beside datumaro on one archive.")
    add_run_options(parser)
    parser.set_defaults(rounds=3)
    given = parser.parse_args()
    files = prepare(given.archive, counts_given(given), given.seed)
    rows = counted(files.archive)
    ratios = compare(files, given.rounds, rows)
    print(f"{given.archive}: {files.archive.stat().st_size / 1e6:.1f} MB, {rows:,} rows; {given.rounds} round(s)\n")
    print(table(ratios))
    if given.json:
        given.json.write_text(json.dumps([asdict(each) for each in ratios], indent=2))


if __name__ == "__main__":
    main()
