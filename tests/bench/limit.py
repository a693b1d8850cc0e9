"""The bare minimum of the same data, one thread, without checks, a store or a server: what nothing can do without.

python -m tests.bench.limit DATA.zip

import   inflate, parse, decode (numbers, ids, labels); masks proven, and masks decoded and traced
export   ready text deflated, ready PNGs stored, zipped; and polygons drawn, encoded, zipped
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from app.archive import Archive, ArchiveLimits, ArchiveWriter, FileSource, open_archive
from app.columns import CSVReader, TextIndex, decode_flags, decode_numbers, decode_runs
from app.errors import Report
from app.geometry import PackedMask, find_flips, flips_to_polygons, place_mask, polygons_to_masks
from app.images import check_png, decode_mask, encode_mask

AT_ONCE = 16
READ_AT_ONCE = 1024
NUMBERS = ("XMin", "XMax", "YMin", "YMax")
FLAGS = ("IsOccluded", "IsTruncated", "IsGroupOf", "IsDepiction", "IsInside")


def measure(archive: Path) -> dict[str, Any]:
    """Wall and CPU seconds of each part, and the peak memory, from a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.limit", str(archive), "--json"], capture_output=True, text=True, check=True
    )
    return dict(json.loads(done.stdout))


class Parts:
    """Seconds of named parts."""

    def __init__(self) -> None:
        self.told: dict[str, dict[str, float]] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.told[name] = {"wall_seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}


def run(path: Path) -> dict[str, Any]:
    parts = Parts()
    archive = open_archive(FileSource(path), ArchiveLimits(max_ratio=1 << 30))
    tables = [entry for entry in archive.entries if entry.name.endswith(".csv") and "class-" not in entry.name]
    masks = [entry for entry in archive.entries if entry.name.endswith(".png")]
    with parts.part("tables in"):
        for entry in tables:
            read_table(archive, entry)
    with parts.part("tables out"):
        writer = ArchiveWriter(lambda chunk: None)
        for entry in tables:
            with writer.open_deflated(entry.name, may_be_large=True) as member:
                for block in archive.blocks(entry):
                    member.write(block)
        writer.close()
    if masks:
        with parts.part("masks proven"):
            for _, data in read_masks(archive, masks):
                check_png(data)
        parts.told["masks traced"], parts.told["masks drawn"] = trace_and_draw(archive, masks)
        with parts.part("masks stored"):
            writer = ArchiveWriter(lambda chunk: None)
            for entry, data in read_masks(archive, masks):
                writer.add_stored(entry.name, data, entry.crc)
            writer.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"parts": parts.told, "peak_mib": peak}


def read_masks(archive: Archive, masks: list[Any]) -> Iterator[tuple[Any, bytes]]:
    for start in range(0, len(masks), READ_AT_ONCE):
        some = masks[start : start + READ_AT_ONCE]
        yield from zip(some, archive.read_all(np.array([entry.number for entry in some])), strict=True)


def read_table(archive: Archive, entry: Any) -> None:
    labels = TextIndex()
    for block in CSVReader(archive.blocks(entry), Report(limit=1), entry.name):
        decode_runs(block.cells("ImageID"))
        if block.has("LabelName"):
            labels.codes(block.cells("LabelName"))
        for name in NUMBERS:
            if block.has(name):
                decode_numbers(block.cells(name))
        for name in FLAGS:
            if block.has(name):
                decode_flags(block.cells(name))


def trace_and_draw(archive: Archive, masks: list[Any]) -> tuple[dict[str, float], dict[str, float]]:
    """Both ways for a few masks at a time, so that their outlines never stand in memory together."""
    seconds = np.zeros((2, 2))

    def now() -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array([time.perf_counter(), time.process_time()])

    writer = ArchiveWriter(lambda chunk: None)
    for start in range(0, len(masks), AT_ONCE):
        begin = now()
        decoded = [decode_mask(data) for _, data in read_masks(archive, masks[start : start + AT_ONCE])]
        outlines = flips_to_polygons([find_flips(PackedMask(one.rows, one.width)) for one in decoded])
        middle = now()
        widths = np.array([one.width for one in decoded], dtype=np.int64)[outlines.masks]
        heights = np.array([one.height for one in decoded], dtype=np.int64)[outlines.masks]
        crops = polygons_to_masks(outlines.points, outlines.offsets, widths, heights)
        for number, (crop, width, height) in enumerate(zip(crops, widths.tolist(), heights.tolist(), strict=True)):
            if crop is not None:
                writer.add_stored(f"{start}-{number}.png", encode_mask(place_mask(crop, width, height).rows, width))
        seconds += [middle - begin, now() - middle]
    writer.close()
    return tuple({"wall_seconds": wall, "cpu_seconds": cpu} for wall, cpu in seconds.tolist())  # type: ignore[return-value]


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the bare minimum of an archive's work.")
    parser.add_argument("archive", type=Path)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    told = run(given.archive)
    if given.json:
        print(json.dumps(told))
        return
    for name, part in told["parts"].items():
        print(f"{name:34} {part['wall_seconds']:8.2f} s wall {part['cpu_seconds']:8.2f} s CPU")
    print(f"peak {told['peak_mib']:.0f} MiB")


if __name__ == "__main__":
    main()
