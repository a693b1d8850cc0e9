"""The table of goals, measured in one command: the service over HTTP, datumaro and the bare minimum, in turn.

    python -m tests.bench.table                              # validation: every row but the train split's
    python -m tests.bench.table --size 10k --rounds 3        # the same rows, smaller
    python -m tests.bench.table --parts boxes --boxes tenth  # 1.46 million boxes of 21 columns (or: train)

`ours` is the whole service: upload, checks, database, fsync and download, its CPU that of all its processes. `peer` is
datumaro in a process and an environment of its own, from the zip on disk to annotations in memory, masks to polygons as
CVAT does by default, and back to a zip on disk; no server, no database. `limit` is the bare minimum of the same data.
Rounds interleave; medians, and the median of the ratios pair by pair. Peaks are of the largest process.

All 14.6 million boxes do not fit datumaro into memory: its seconds are those of a tenth, times ten.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.bench import doors, limit
from tests.bench.make_data import SPLITS, Counts, Files
from tests.bench.peer import PEER_SECONDS, SCRIPT
from tests.bench.run import Step, counted, has_masks, one_round, prepare
from tests.environments import python_of, run_script
from tests.service import running_service

PARTS = ("archive", "boxes", "uploads", "annotations", "client", "lossless")
OUR_PACKAGES = ("numpy", "pillow", "isal", "fastapi", "uvicorn", "sqlalchemy", "orjson")
PEER_CODE = "import datumaro, numpy, cv2; print(datumaro.__version__, numpy.__version__, cv2.__version__)"
TENTH = 10

Part = dict[str, float]


@dataclass
class Row:
    """One line of the table; seconds, or what `unit` says. A ratio is of the peer's by ours: higher is better."""

    work: str
    ours: float
    ours_cpu: float | None = None
    peer: float | None = None
    ratio: float | None = None
    cpu_ratio: float | None = None
    limit: float | None = None
    peak_mib: float | None = None
    peer_peak_mib: float | None = None
    first_byte: float | None = None
    goal: str = ""
    unit: str = "s"


def row_of(
    work: str,
    ours: Sequence[Step],
    peers: Sequence[Any],
    part: str,
    goal: str,
    bare: Part | None = None,
    scale: float = 1.0,
) -> Row:
    """Rounds of a step beside rounds of a part of the peer."""
    firsts = [step.first_byte_seconds for step in ours if step.first_byte_seconds is not None]
    row = Row(
        work,
        statistics.median(step.wall_seconds for step in ours),
        statistics.median(step.cpu_seconds for step in ours),
        limit=None if bare is None else bare["wall_seconds"],
        peak_mib=max(step.peak_mib for step in ours),
        first_byte=statistics.median(firsts) if firsts else None,
        goal=goal,
    )
    if peers:
        walls = [peer[part]["wall_seconds"] * scale for peer in peers]
        cpus = [peer[part]["cpu_seconds"] * scale for peer in peers]
        row.peer = statistics.median(walls)
        row.ratio = statistics.median(wall / step.wall_seconds for wall, step in zip(walls, ours, strict=True))
        row.cpu_ratio = statistics.median(
            cpu / max(step.cpu_seconds, 0.01) for cpu, step in zip(cpus, ours, strict=True)
        )
        row.peer_peak_mib = max(peer[part]["peak_mib"] for peer in peers)
    return row


def together(told: Any, *names: str) -> Part | None:
    """The sum of some parts of the limit."""
    parts = told["parts"]
    if any(name not in parts for name in names):
        return None
    return {key: sum(parts[name][key] for name in names) for key in ("wall_seconds", "cpu_seconds")}


def rounds_of(files: Files, rounds: int, peer_files: Files | None) -> tuple[list[dict[str, Step]], list[Any]]:
    """Ours, the peer, ours, the peer, …"""
    ours: list[dict[str, Step]] = []
    peers: list[Any] = []
    rows = counted(files.archive)
    with (
        tempfile.TemporaryDirectory(prefix="annoport-bench-") as folder,
        running_service(Path(folder), auth_mode="local", environ={"ANNOPORT_MAX_ZIP_RATIO": "1000"}) as service,
    ):
        for _ in range(rounds):
            ours.append({step.name: step for step in one_round(service, files, rows, Path(folder) / "out.zip")})
            if peer_files is not None:
                request = {"archive": str(peer_files.archive), "polygons": has_masks(peer_files)}
                peers.append(run_script("judge", SCRIPT, request, timeout=PEER_SECONDS))
    return ours, peers


def archive_rows(given: argparse.Namespace) -> list[Row]:
    files = prepare(given.data / f"{given.size}.zip", SPLITS[given.size], 1)
    ours, peers = rounds_of(files, given.rounds, None if given.no_peer else files)
    bare = limit.measure(files.archive)

    def row(work: str, step: str, part: str, goal: str, *parts: str) -> Row:
        return row_of(work, [each[step] for each in ours], peers, part, goal, together(bare, *parts))

    size = given.size
    rows = [
        row(f"{size} import", "import, masks stay masks", "import", "24x", "tables in", "masks proven"),
        row(f"{size} import, masks traced", "import, masks to polygons", "import", "8x", "tables in", "masks traced"),
        row(
            f"{size} export, outlines untouched",
            "export of the polygons, streamed",
            "export",
            "19x",
            "tables out",
            "masks stored",
        ),
        row(
            f"{size} export, outlines drawn",
            "export of drawn polygons, streamed",
            "export",
            "19x",
            "tables out",
            "masks drawn",
        ),
        row(f"{size} export, masks", "export, streamed", "export", "100x", "tables out", "masks stored"),
        row(f"{size} export, masks, as a request", "export as a request", "export", "100x", "tables out"),
        row(f"{size} export, as a request again", "the same export as a request again", "export", "100x"),
    ]
    steps = [
        row_of("annotations as JSON, masks", [each["annotations as JSON"] for each in ours], [], "", ""),
        row_of("annotations as JSON, outlines", [each["polygons as JSON"] for each in ours], [], "", ""),
    ]
    return [
        *rows,
        *steps,
        row_of("pictures to a task", [each["pictures: upload and make the task"] for each in ours], [], "", ""),
    ]


def boxes_rows(given: argparse.Namespace) -> list[Row]:
    """Boxes of 21 columns; the peer always reads the tenth."""
    files = prepare(given.data / f"{given.boxes}.zip", SPLITS[given.boxes], 1)
    scale = TENTH if given.boxes == "train" else 1
    tenth = prepare(given.data / "tenth.zip", SPLITS["tenth"], 1) if scale == TENTH else files
    ours, peers = rounds_of(files, given.rounds, None if given.no_peer else tenth)
    bare = limit.measure(files.archive)
    name = f"{SPLITS[given.boxes].boxes / 1e6:.1f} M boxes, 21 columns"

    def row(work: str, step: str, part: str, goal: str, *parts: str) -> Row:
        return row_of(work, [each[step] for each in ours], peers, part, goal, together(bare, *parts), scale)

    return [
        row(f"{name}, import", "import, masks stay masks", "import", "22x", "tables in"),
        row(f"{name}, export", "export, streamed", "export", "15 s of 14.6 M", "tables out"),
    ]


def uploads_rows(given: argparse.Namespace) -> list[Row]:
    found = doors.summary(doors.uploads(given.scratch / "uploads", given.upload_megabytes, given.rounds))
    usual = found["usual"].amount
    goals = {"ours: form": "450 MB/s (usual 229), 2x", "ours: tus": "450 MB/s (usual 229), 2x"}
    return [
        Row(
            f"upload to disk, {name}",
            one.amount,
            one.cpu_seconds or None,
            usual,
            one.amount / usual,
            limit=found["raw"].amount,
            peak_mib=one.peak_mib if name.startswith("ours") else None,
            goal=goals.get(name, ""),
            unit="MB/s",
        )
        for name, one in found.items()
    ]


def annotations_rows(given: argparse.Namespace) -> list[Row]:
    share = given.share
    counts = Counts(int(41_620 * share), int(303_980 * share), 0, 0)
    frame_counts = Counts(int(125_000 * share), int(1_050_000 * share), 0, 0, has_clicks=True)
    found = doors.summary(doors.annotations(given.scratch, counts, frame_counts, given.rounds))
    models = found["json, response models"]
    json_row = Row(
        f"annotations as JSON, {counts.boxes:,} shapes",
        found["json"].seconds,
        found["json"].cpu_seconds,
        models.seconds,
        models.seconds / found["json"].seconds,
        models.cpu_seconds / max(found["json"].cpu_seconds, 0.01),
        peak_mib=found["json"].peak_mib,
        goal="1.5 s (17 s), 11x",
    )
    frames = [
        Row(
            f"one {name}, of {frame_counts.boxes:,} shapes",
            found[name].seconds * 1000,
            found[name].cpu_seconds * 1000,
            peak_mib=found[name].peak_mib,
            goal="5 ms",
            unit="ms",
        )
        for name in ("frame read", "frame saved")
    ]
    return [json_row, *frames]


def client_rows(given: argparse.Namespace) -> list[Row]:
    *calls, nothing = doors.small_import(given.scratch / "client", given.rounds)
    one = doors.summary({"cli": calls})["cli"]
    row = Row(
        "3 pictures by cvat-cli, whole command", one.seconds, one.cpu_seconds, goal="1.5 s", peak_mib=one.peak_mib
    )
    row.limit = nothing.seconds  # `cvat-cli task ls`
    return [row]


def lossless_rows(given: argparse.Namespace) -> list[Row]:
    """Import with every cell kept, and as if nothing were; CPU seconds of the worker's own work."""
    files = prepare(given.data / f"{given.size}.zip", SPLITS[given.size], 1)
    command = ["python", "-m", "tests.bench.lossless", str(files.archive), "--rounds", str(given.rounds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout.strip().splitlines()[-1])
    ratio = statistics.median(kept / bare for kept, bare in zip(told["kept"], told["bare"], strict=True))
    row = Row("every cell kept, cost over not", statistics.median(told["kept"]), goal="1.3x at most")
    row.limit, row.ratio = statistics.median(told["bare"]), ratio
    return [row]


def as_text(rows: Sequence[Row]) -> str:
    """The table; a Markdown table that reads well in a terminal."""

    def number(value: float | None, digits: int = 2) -> str:
        return "" if value is None else f"{value:,.{digits}f}"

    head = ("work", "ours", "CPU", "peer", "ratio", "CPU ratio", "limit", "peak MiB", "peer MiB", "first byte", "goal")
    lines = [
        (
            row.work,
            f"{number(row.ours, 0 if row.unit == 'MB/s' else 2)} {row.unit}",
            number(row.ours_cpu),
            number(row.peer, 0 if row.unit == "MB/s" else 1),
            "" if row.ratio is None else f"{row.ratio:.1f}x",
            "" if row.cpu_ratio is None else f"{row.cpu_ratio:.1f}x",
            number(row.limit, 0 if row.unit == "MB/s" else 2),
            number(row.peak_mib, 0),
            number(row.peer_peak_mib, 0),
            "" if row.first_byte is None else f"{row.first_byte * 1000:.0f} ms",
            row.goal,
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    ruled = [head, tuple("-" * width for width in widths), *lines]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in ruled
    )


def versions(no_peer: bool) -> str:
    ours = ", ".join(f"{name} {version(name)}" for name in OUR_PACKAGES)
    told = f"Python {platform.python_version()}, {ours}; {len(os.sched_getaffinity(0))} cores"
    if no_peer:
        return told
    done = subprocess.run([str(python_of("judge")), "-c", PEER_CODE], capture_output=True, text=True)
    names = ("datumaro", "numpy", "opencv")
    peer = ", ".join(f"{name} {each}" for name, each in zip(names, done.stdout.split(), strict=False))
    return f"{told}\npeer: {peer}"


MEASURES: dict[str, Callable[[argparse.Namespace], list[Row]]] = {
    "archive": archive_rows,
    "boxes": boxes_rows,
    "uploads": uploads_rows,
    "annotations": annotations_rows,
    "client": client_rows,
    "lossless": lossless_rows,
}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the table of goals.")
    parser.add_argument("--size", choices=("1k", "10k", "validation"), default="validation", help="(%(default)s)")
    parser.add_argument("--boxes", choices=("tenth", "train"), default="tenth", help="for part `boxes` (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=[part for part in PARTS if part != "boxes"])
    parser.add_argument("--no-peer", action="store_true", help="without datumaro")
    parser.add_argument("--upload-megabytes", type=int, default=825, help="(%(default)s)")
    parser.add_argument("--share", type=float, default=1.0, help="of the shapes of part `annotations` (%(default)s)")
    parser.add_argument("--data", type=Path, default=Path(tempfile.gettempdir()) / "annoport-bench-data")
    parser.add_argument("--json", type=Path, default=None, help="write the rows here, too")
    return parser.parse_args(arguments)


def run(given: argparse.Namespace) -> list[Row]:
    """The rows of the parts, told as they come."""
    rows: list[Row] = []
    given.data.mkdir(parents=True, exist_ok=True)
    for part in given.parts:
        with tempfile.TemporaryDirectory(prefix="annoport-bench-") as scratch:
            given.scratch = Path(scratch)
            found = MEASURES[part](given)
        print(f"\n{part}\n{as_text(found)}", flush=True)
        rows += found
    return rows


def main() -> None:
    given = parse()
    print(versions(given.no_peer), flush=True)
    rows = run(given)
    print(f"\n{as_text(rows)}\n\nlargest process of ours: {max(row.peak_mib or 0 for row in rows):.0f} MiB")
    if given.json:
        given.json.write_text(json.dumps([asdict(row) for row in rows], indent=2))


if __name__ == "__main__":
    main()
