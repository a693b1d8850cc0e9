"""How time and memory grow with the task: boxes of 21 columns in and out, at several sizes, and a plot of it.

    python -m tests.bench.growth --images 1000 10000 41620 174304 --svg growth.svg

The exponent is that of the best line through the doubly logarithmic points: 1 is in proportion, 0 is constant.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tests.bench.make_data import Counts
from tests.bench.run import Step, counted, one_round, prepare
from tests.service import running_service

BOXES_AN_IMAGE = 8.38
WIDTH, HEIGHT, MARGIN = 420, 320, 56
COLOURS = ("#1f6feb", "#d1242f")


@dataclass
class Point:
    """One size."""

    images: int
    boxes: int
    import_cpu: float
    export_cpu: float
    import_wall: float
    export_wall: float
    import_mib: float
    export_mib: float


def measure(data: Path, images: int) -> Point:
    counts = Counts(images, int(images * BOXES_AN_IMAGE), 0, 0, has_clicks=True)
    files = prepare(data / f"growth-{images}.zip", counts, 1)
    with (
        tempfile.TemporaryDirectory(prefix="annoport-growth-") as folder,
        running_service(Path(folder), auth_mode="local") as service,
    ):
        steps = {step.name: step for step in one_round(service, files, counted(files.archive), Path(folder) / "o.zip")}
    into: Step = steps["import, masks stay masks"]
    out: Step = steps["export, streamed"]
    return Point(
        images,
        counts.boxes,
        into.cpu_seconds,
        out.cpu_seconds,
        into.wall_seconds,
        out.wall_seconds,
        into.peak_mib,
        out.peak_mib,
    )


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The slope in logarithms."""
    if len(sizes) < 2:
        return math.nan
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(values, 1e-3)), 1)[0])


def plot(points: Sequence[Point]) -> str:
    """Two panels, both axes logarithmic: CPU seconds and peak MiB over images."""
    sizes = [point.images for point in points]
    panels = [
        (
            "CPU seconds",
            {"import": [p.import_cpu for p in points], "export": [p.export_cpu for p in points]},
        ),
        (
            "peak MiB of the largest process",
            {"import": [p.import_mib for p in points], "export": [p.export_mib for p in points]},
        ),
    ]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * WIDTH}" height="{HEIGHT}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{2 * WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for number, (title, lines) in enumerate(panels):
        parts += _panel(number * WIDTH, title, sizes, lines)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(left: int, title: str, sizes: Sequence[int], lines: dict[str, list[float]]) -> list[str]:
    values = [max(value, 1e-2) for line in lines.values() for value in line]
    x0, x1 = _decades(sizes)
    y0, y1 = _decades(values)

    def x(size: float) -> float:
        return left + MARGIN + (math.log10(size) - x0) / (x1 - x0) * (WIDTH - 2 * MARGIN)

    def y(value: float) -> float:
        return HEIGHT - MARGIN - (math.log10(max(value, 1e-2)) - y0) / (y1 - y0) * (HEIGHT - 2 * MARGIN)

    parts = [f'<text x="{left + MARGIN}" y="24" font-weight="bold">{title}</text>']
    for power in range(x0, x1 + 1):
        place = x(10**power)
        parts.append(f'<path d="M{place:.1f} {MARGIN}V{HEIGHT - MARGIN}" stroke="#ddd"/>')
        parts.append(f'<text x="{place:.1f}" y="{HEIGHT - MARGIN + 18}" text-anchor="middle">{10**power:,}</text>')
    for power in range(y0, y1 + 1):
        place = y(10.0**power)
        parts.append(f'<path d="M{left + MARGIN} {place:.1f}H{left + WIDTH - MARGIN}" stroke="#ddd"/>')
        parts.append(f'<text x="{left + MARGIN - 6}" y="{place + 4:.1f}" text-anchor="end">{10.0**power:g}</text>')
    for row, ((name, line), colour) in enumerate(zip(lines.items(), COLOURS, strict=True)):
        places = " ".join(f"{x(size):.1f},{y(value):.1f}" for size, value in zip(sizes, line, strict=True))
        parts.append(f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [
            f'<circle cx="{p.split(",")[0]}" cy="{p.split(",")[1]}" r="3" fill="{colour}"/>' for p in places.split()
        ]
        text = f"{name}: images^{exponent(sizes, line):.2f}"
        parts.append(f'<text x="{left + MARGIN + 8}" y="{MARGIN + 16 + 16 * row}" fill="{colour}">{text}</text>')
    parts.append(f'<text x="{left + WIDTH // 2}" y="{HEIGHT - 14}" text-anchor="middle">images</text>')
    return parts


def _decades(values: Sequence[float]) -> tuple[int, int]:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def table(points: Sequence[Point]) -> str:
    head = f"{'images':>10} {'boxes':>12} {'import s':>9} {'CPU':>8} {'MiB':>6} {'export s':>9} {'CPU':>8} {'MiB':>6}"
    lines = [
        f"{p.images:>10,} {p.boxes:>12,} {p.import_wall:>9.2f} {p.import_cpu:>8.2f} {p.import_mib:>6.0f} "
        f"{p.export_wall:>9.2f} {p.export_cpu:>8.2f} {p.export_mib:>6.0f}"
        for p in points
    ]
    sizes = [p.images for p in points]
    names = ("import_cpu", "export_cpu", "import_mib", "export_mib")
    slopes = "  ".join(f"{name} {exponent(sizes, [getattr(p, name) for p in points]):.2f}" for name in names)
    return "\n".join([head, *lines, f"exponents: {slopes}"])


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure and plot growth.")
    parser.add_argument("--images", type=int, nargs="+", default=[1_000, 10_000, 41_620, 174_304])
    parser.add_argument("--data", type=Path, default=Path(tempfile.gettempdir()) / "annoport-bench-data")
    parser.add_argument("--svg", type=Path, default=None, help="write the plot here")
    parser.add_argument("--json", type=Path, default=None)
    given = parser.parse_args()
    points = []
    for images in given.images:
        points.append(measure(given.data, images))
        print(table(points[-1:]).splitlines()[1], flush=True)
    print(table(points))
    if given.svg:
        given.svg.write_text(plot(points))
    if given.json:
        given.json.write_text(json.dumps([asdict(point) for point in points], indent=2))


if __name__ == "__main__":
    main()
