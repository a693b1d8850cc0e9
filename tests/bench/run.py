"""Times the whole service on one archive: pictures, import, export, annotations as JSON, over real HTTP.

Each step tells the wall time, the CPU seconds and the largest peak memory of the service's processes (the web process,
its workers and their children) while the step ran, and what passed per second. The archive is made if it is not there.

    python -m tests.bench.run OUT.zip [--size validation] [--rounds 3] [--json result.json]

Where there are no pictures (more than 50,000 frames), the frames of the task are written by the store's own call, while
the service runs: an import looks at names and sizes only, and a million uploaded pictures would measure nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import sqlalchemy as sa

from app.annotations import Edit, ShapeType
from app.blocks import decode_arrays, decode_ragged, encode_array, encode_ragged
from app.columns import Ragged
from app.storage import FrameColumns, FramePlaces, Storage, TaskData, open_storage, tasks
from app.storage.schema import BLOCKS
from tests.bench.make_data import SUBSET, Counts, Files, add_count_options, counts_given, files_of, make
from tests.caller import FORMAT, Caller
from tests.processes import Meter, family, look
from tests.service import Service, running_service

WAIT_SECONDS = 1800.0
BLOCK_BYTES = 1 << 20


@dataclass
class Step:
    """One measured step.

    Attributes:
        amount: how many things (`unit`) passed.
        first_byte_seconds: until the first byte of the answer, where the answer streams.
        peaks_mib: peak memory of each process, largest first.
    """

    name: str
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_mib: float = 0.0
    peaks_mib: list[float] = field(default_factory=list)
    amount: float = 0.0
    unit: str = ""
    first_byte_seconds: float | None = None

    @property
    def rate(self) -> float:
        return self.amount / self.wall_seconds if self.wall_seconds else 0.0


class Bench:
    """The steps of one round against one service."""

    def __init__(self, service: Service, files: Files) -> None:
        self.service, self.files = service, files
        self.caller = Caller(service)
        self.caller.http.timeout = httpx.Timeout(WAIT_SECONDS)
        self.steps: list[Step] = []

    @contextlib.contextmanager
    def step(self, name: str, amount: float = 0, unit: str = "") -> Iterator[Step]:
        step = Step(name, amount=amount, unit=unit)
        with Meter(self.service.process.pid) as meter:
            start = time.perf_counter()
            yield step
            step.wall_seconds = time.perf_counter() - start
        step.cpu_seconds = meter.cpu_seconds
        step.peaks_mib = sorted((round(use.peak_mib, 1) for use in meter.uses.values()), reverse=True)
        step.peak_mib = meter.peak_mib
        self.steps.append(step)

    def create(self) -> int:
        labels = json.loads(self.files.labels.read_text())
        if not self.files.pictures.is_file():
            body = {"name": "bench", "labels": labels, "subset": SUBSET}
            number = int(self.caller.json("POST", "/api/tasks", json=body)["id"])
            attach_frames(self.service, number, self.files)
            return number
        n_frames = self.files.frames.read_text().count("\n")
        with self.step("pictures: upload and make the task", n_frames, "frames"):
            return self.caller.task("bench", labels, self.files.pictures, subset=SUBSET)

    def bring(self, number: int, name: str, rows: int, **options: Any) -> Any:
        """Upload and import in one call; the report."""
        with self.step(name, rows, "rows"):
            query = {"format": FORMAT, "wait": 0, **options}
            with self.files.archive.open("rb") as body:
                answer = self.caller.call(
                    "POST", f"/api/tasks/{number}/import", params=query, content=_blocks(body.read)
                )
            if answer.status_code == 202:
                self.wait(answer.json()["rq_id"])
                return None
            return answer.json()

    def wait(self, rq_id: str) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            request = self.caller.json("GET", f"/api/requests/{rq_id}")
            if request["status"] == "failed":
                raise AssertionError(request["message"])
            if request["status"] == "finished":
                return
            time.sleep(0.02)
        raise AssertionError(f"request {rq_id} takes longer than {WAIT_SECONDS:.0f} s")

    def stream(self, name: str, path: str, target: Path | None, **query: Any) -> int:
        """Read a whole answer, into a file if there is a target; its size."""
        with self.step(name, unit="MB") as step:
            start, total = time.perf_counter(), 0
            with contextlib.ExitStack() as stack:
                sink: Callable[[bytes], Any] = (
                    stack.enter_context(target.open("wb")).write if target else lambda block: None
                )
                answer = stack.enter_context(self.caller.http.stream("GET", path, params=query or None))
                assert answer.status_code == 200, answer.read()[:2000]
                for block in answer.iter_raw():  # as they come: a size would wait until so much is there
                    if step.first_byte_seconds is None:
                        step.first_byte_seconds = time.perf_counter() - start
                    total += len(block)
                    sink(block)
            step.amount = total / 1e6
        return total

    def export_as_request(self, number: int, name: str) -> str:
        """CVAT's way: work in the background, then a file to download; the file's address."""
        with self.step(name):
            started = self.caller.json(
                "POST", f"/api/tasks/{number}/dataset/export", params={"format": FORMAT, "save_images": "False"}
            )
            self.wait(started["rq_id"])
            return str(self.caller.json("GET", f"/api/requests/{started['rq_id']}")["result_url"])


def has_masks(files: Files) -> bool:
    with zipfile.ZipFile(files.archive) as archive:
        return any(name.endswith(".png") for name in archive.namelist())


def attach_frames(service: Service, number: int, files: Files, *, single: int = 0) -> None:
    """Give a task of the embedded shape its frames without pictures."""
    storage = open_storage("", "", service.data_dir, migrate=False)
    try:
        give_frames(storage, number, files, single=single)
    finally:
        storage.close()


def give_frames(storage: Storage, number: int, files: Files, *, single: int = 0) -> None:
    """Give a task its frames without pictures, as the work of `create:task` ends.

    Args:
        single: so many jobs of one frame each come first; the rest is one job.
    """
    lines = [line.split() for line in files.frames.read_text().splitlines()]
    n = len(lines)
    places = FramePlaces(
        packs=np.zeros(n, dtype=np.int32),
        offsets=np.zeros(n, dtype=np.int64),
        stored_sizes=np.ones(n, dtype=np.int64),
        sizes=np.ones(n, dtype=np.int64),
        methods=np.zeros(n, dtype=np.uint8),
        crcs=np.full(n, -1, dtype=np.int64),
        orientations=np.ones(n, dtype=np.uint8),
    )
    frames = FrameColumns(
        names=Ragged.from_bytes([line[0].encode() for line in lines]),
        widths=np.array([int(line[1]) for line in lines], dtype=np.int32),
        heights=np.array([int(line[2]) for line in lines], dtype=np.int32),
        places=places,
    )
    jobs = (*((at, at + 1) for at in range(single)), (single, n))
    with storage.database.write() as conn:
        tasks.attach_data(conn, number, TaskData(jobs=jobs, segment_size=n, stop_frame=n - 1), frames)


def _blocks(read: Callable[[int], bytes]) -> Iterator[bytes]:
    while block := read(BLOCK_BYTES):
        yield block


def one_round(service: Service, files: Files, rows: int, target: Path) -> list[Step]:
    """Everything once, on a task of its own that is deleted in the end."""
    bench = Bench(service, files)
    number = bench.create()
    bench.bring(number, "import, masks stay masks", rows, conv_mask_to_poly="false")
    bench.stream("export, streamed", f"/api/tasks/{number}/export", target, format=FORMAT)
    url = bench.export_as_request(number, "export as a request")
    bench.stream("download of the exported file", url, None)
    again = bench.export_as_request(number, "the same export as a request again")
    assert again == url, "the same state was written twice"
    bench.stream("annotations as JSON", f"/api/tasks/{number}/annotations", None)
    if has_masks(files):
        bench.bring(number, "import, masks to polygons", rows, conv_mask_to_poly="true")
        bench.stream("export of the polygons, streamed", f"/api/tasks/{number}/export", None, format=FORMAT)
        bench.stream("polygons as JSON", f"/api/tasks/{number}/annotations", None)
        with bench.step("every polygon touched"):
            touch_polygons(service, number)
        bench.stream("export of drawn polygons, streamed", f"/api/tasks/{number}/export", None, format=FORMAT)
    bench.caller.call("DELETE", f"/api/tasks/{number}")
    bench.caller.http.close()
    return bench.steps


def touch_polygons(service: Service, number: int) -> None:
    """Move every polygon down by a pixel and mark it as edited, as a client does: all are then drawn anew. By the
    store's own call, for millions of points by JSON would measure nothing else."""
    storage = open_storage("", "", service.data_dir, migrate=False)
    try:
        with storage.database.write() as conn:
            keys = sa.select(BLOCKS["shapes"].c["set_id", "block", "part"]).where(BLOCKS["shapes"].c.task_id == number)
            for key in conn.execute(keys).all():
                here = BLOCKS["shapes"].c
                place = (here.task_id == number, here.set_id == key[0], here.block == key[1], here.part == key[2])
                row = conn.execute(sa.select(BLOCKS["shapes"]).where(*place)).one()
                types = decode_arrays([row.types], [row.n_rows], np.uint8)
                edits = decode_arrays([row.kept_edits], [row.n_rows], np.uint8)
                edits[types == ShapeType.POLYGON] |= np.uint8(Edit.GEOMETRY)
                points = decode_ragged([row.points], [row.n_rows], np.float64)
                moves = np.repeat(types == ShapeType.POLYGON, points.lengths)
                moves[::2] = False  # down by a pixel
                moved = encode_ragged(Ragged(points.values + moves, points.offsets), 0, row.n_rows)
                changed = {"kept_edits": encode_array(edits), "points": moved}
                conn.execute(BLOCKS["shapes"].update().where(*place).values(**changed))
    finally:
        storage.close()


def median_steps(rounds: list[list[Step]]) -> list[Step]:
    """Medians of times, maxima of memory, step by step."""
    result = []
    for same in zip(*rounds, strict=True):
        first = same[0]
        firsts = [each.first_byte_seconds for each in same if each.first_byte_seconds is not None]
        result.append(
            Step(
                first.name,
                statistics.median(each.wall_seconds for each in same),
                statistics.median(each.cpu_seconds for each in same),
                max(each.peak_mib for each in same),
                max((each.peaks_mib for each in same), default=[]),
                first.amount,
                first.unit,
                statistics.median(firsts) if firsts else None,
            )
        )
    return result


def table(steps: list[Step]) -> str:
    lines = [f"{'step':38}{'wall s':>9}{'CPU s':>9}{'first byte':>12}{'peak MiB':>10}  {'throughput':>18}"]
    for step in steps:
        first = f"{step.first_byte_seconds * 1000:.0f} ms" if step.first_byte_seconds is not None else ""
        rate = f"{step.rate:,.0f} {step.unit}/s" if step.unit else ""
        lines.append(
            f"{step.name:38}{step.wall_seconds:9.2f}{step.cpu_seconds:9.2f}{first:>12}{step.peak_mib:10.0f}  {rate:>18}"
        )
    return "\n".join(lines)


def prepare(archive: Path, counts: Counts, seed: int) -> Files:
    files = files_of(archive)
    if not all(path.is_file() for path in (files.archive, files.frames, files.labels)):
        print(f"making {archive} …", flush=True)
        make(archive, counts, seed)
    return files


def counted(archive: Path) -> int:
    """Rows of the annotation tables, as the archive has them."""
    with zipfile.ZipFile(archive) as opened:
        names = [name for name in opened.namelist() if "-annotations-" in name]
        total = 0
        for name in names:
            with opened.open(name) as member:
                total += sum(block.count(b"\n") for block in iter(lambda: member.read(BLOCK_BYTES), b"")) - 1
        return total


def add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("archive", type=Path, help="an archive of make_data; made with the counts given if absent")
    add_count_options(parser)
    parser.add_argument("--rounds", type=int, default=1, help="rounds; medians are told (%(default)s)")
    parser.add_argument("--json", type=Path, default=None, help="write the result here, too")


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the whole service on one archive.")
    add_run_options(parser)
    parser.add_argument("--workers", type=int, default=None, help="worker processes of the service (its own default)")
    given = parser.parse_args()
    files = prepare(given.archive, counts_given(given), given.seed)
    rows = counted(files.archive)
    arguments = ["--workers", str(given.workers)] if given.workers is not None else []
    with (
        tempfile.TemporaryDirectory(prefix="annoport-bench-") as folder,
        running_service(Path(folder), auth_mode="local", arguments=arguments) as service,
    ):
        rounds = [one_round(service, files, rows, Path(folder) / "out.zip") for _ in range(given.rounds)]
        steps = median_steps(rounds)
        print(f"{given.archive}: {files.archive.stat().st_size / 1e6:.1f} MB, {rows:,} rows; {given.rounds} round(s)\n")
        print(table(steps))
        print("\nprocesses of the service at the end")
        for pid in family(service.process.pid):
            use = look(pid)
            if use:
                print(f"  {use.peak_mib:7.0f} MiB peak {use.cpu_seconds:8.2f} CPU s  {use.command[:90]}")
    if given.json:
        given.json.write_text(json.dumps([asdict(step) for step in steps], indent=2))


if __name__ == "__main__":
    main()
