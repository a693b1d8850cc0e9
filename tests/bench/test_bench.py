"""The measuring itself at a small size in every run, so that it does not rot; the real comparison with `-m bench`."""

from __future__ import annotations

import csv
import io
import zipfile
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from tests.bench import doors, footprint, growth, limit
from tests.bench import table as table_of_goals
from tests.bench.make_data import SUBSET, Counts, make
from tests.bench.peer import compare
from tests.bench.run import counted, one_round, table
from tests.service import Service

SMALL = Counts(images=60, boxes=400, tags=700, masks=12)
MIDDLE = Counts(images=4_000, boxes=30_000, tags=58_000, masks=1_500)
MAX_PEAK_MIB = 256


def rows_of(archive: zipfile.ZipFile, suffix: str) -> list[dict[str, str]]:
    body = archive.read(f"annotations/{SUBSET}-{suffix}.csv").decode()
    return list(csv.DictReader(io.StringIO(body, newline="")))


def test_data_has_the_counts_and_the_links_it_promises(tmp_path: Path) -> None:
    files = make(tmp_path / "data.zip", SMALL, seed=3)
    with zipfile.ZipFile(files.archive) as archive:
        images, boxes = rows_of(archive, "images-with-rotation"), rows_of(archive, "annotations-bbox")
        tags, masks = (
            rows_of(archive, "annotations-human-imagelabels"),
            rows_of(archive, "annotations-object-segmentation"),
        )
        assert (len(images), len(boxes), len(tags), len(masks)) == (60, 400, 700, 12)
        corners = {
            (row["ImageID"], row["LabelName"], row["XMin"], row["XMax"], row["YMin"], row["YMax"]) for row in boxes
        }
        for row in masks:
            place = (
                row["ImageID"],
                row["LabelName"],
                *(row[f"Box{name}"] for name in ("XMin", "XMax", "YMin", "YMax")),
            )
            assert place in corners
            with Image.open(io.BytesIO(archive.read(f"masks/{SUBSET}/{row['MaskPath']}"))) as mask:
                assert mask.mode == "1"
                assert np.asarray(mask).any()
        assert all(0 <= float(row["XMin"]) < float(row["XMax"]) <= 1 for row in boxes)
    frames = [line.split() for line in files.frames.read_text().splitlines()]
    with zipfile.ZipFile(files.pictures) as pictures:
        for name, width, height in frames:
            with Image.open(io.BytesIO(pictures.read(name))) as picture:
                assert picture.size == (int(width), int(height))


def test_data_of_one_seed_is_the_same_bytes(tmp_path: Path) -> None:
    first, second = (make(tmp_path / f"{index}.zip", SMALL, seed=5) for index in range(2))
    other = make(tmp_path / "other.zip", SMALL, seed=6)
    assert first.archive.read_bytes() == second.archive.read_bytes() != other.archive.read_bytes()


def test_a_round_measures_every_step(local_service: Service, tmp_path: Path) -> None:
    files = make(tmp_path / "data.zip", SMALL, seed=3)
    rows = counted(files.archive)
    assert rows == 400 + 700 + 12
    steps = one_round(local_service, files, rows, tmp_path / "out.zip")
    assert all(step.wall_seconds > 0 and step.peak_mib > 1 for step in steps)
    assert sum(step.cpu_seconds for step in steps) > 0
    assert "import, masks stay masks" in table(steps)
    # What was measured is the real thing: the export holds the rows that were imported.
    assert counted(tmp_path / "out.zip") == rows


@pytest.mark.bench
@pytest.mark.timeout(1800)
def test_the_service_beside_the_peer(tmp_path: Path) -> None:
    files = make(tmp_path / "data.zip", MIDDLE, seed=1)
    ratios = {each.name: each for each in compare(files, 3, counted(files.archive))}
    for each in ratios.values():
        print(each)
        assert each.wall_ratio > 1, each
        assert each.our_peak_mib < MAX_PEAK_MIB, each


def test_the_table_of_goals_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every part that needs no foreign program, at a size that says nothing of time."""
    tiny = {"1k": SMALL, "tenth": replace(SMALL, tags=0, masks=0, has_clicks=True)}
    monkeypatch.setattr(table_of_goals, "SPLITS", tiny)
    monkeypatch.setattr(doors, "MODEL_SHAPES", 100)
    monkeypatch.setattr(doors, "FRAME_CALLS", 2)
    arguments = ["--size", "1k", "--rounds", "1", "--no-peer", "--upload-megabytes", "1", "--share", "0.001"]
    parts = ["--parts", "archive", "boxes", "uploads", "annotations", "--data", str(tmp_path)]
    rows = table_of_goals.run(table_of_goals.parse([*arguments, *parts]))
    assert {row.unit for row in rows} == {"s", "ms", "MB/s"}
    assert all(row.ours > 0 for row in rows)
    told = capsys.readouterr().out
    assert all(row.work in told for row in rows)


def test_growth_has_an_exponent_and_a_plot() -> None:
    sizes = (1_000, 10_000, 100_000)
    points = [growth.Point(n, n * 8, n / 1e4, 0.2, n / 1e4, 0.2, 90 + n / 1e4, 90) for n in sizes]
    assert abs(growth.exponent(sizes, [point.import_cpu for point in points]) - 1) < 1e-9
    assert abs(growth.exponent(sizes, [point.export_cpu for point in points])) < 1e-9
    assert "exponents: import_cpu 1.00  export_cpu" in growth.table(points)
    drawn = ElementTree.fromstring(growth.plot(points))
    assert len(drawn.findall("{http://www.w3.org/2000/svg}circle")) == 12


def test_the_bare_minimum_knows_every_part(tmp_path: Path) -> None:
    files = make(tmp_path / "data.zip", replace(SMALL, peer_masks=True), seed=3)
    told = limit.run(files.archive)
    names = {"tables in", "tables out", "masks proven", "masks traced", "masks drawn", "masks stored"}
    assert set(told["parts"]) == names


def test_an_installation_is_weighed() -> None:
    found = footprint.requirements("annoport", {})
    assert {"annoport", "numpy", "fastapi", "sqlalchemy"} <= set(found)
    assert "pytest" not in found
