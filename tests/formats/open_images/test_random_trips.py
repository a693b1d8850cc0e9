"""Random archives of every version through the stored task and out again: each cell, each byte against what went in.

A few seeds run always, five hundred with `pytest -m long tests/formats/open_images/test_random_trips.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from unittest.mock import patch

import pytest

from app.formats.open_images.plan import Plan
from app.storage import AnnotationReader
from tests.desk import Desk, TaskDesk
from tests.formats.builders import zip_of
from tests.formats.open_images.random_archives import Made, differences, make_archive, read_rows

pytestmark = pytest.mark.usefixtures("short_blocks")
SOME, MANY, STEP = 16, 500, 25


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with Desk(tmp_path_factory.mktemp("trips")) as opened:
        yield opened


def new_task(desk: Desk, made: Made) -> TaskDesk:
    return desk.task(made.frames, made.labels)


def trip(desk: Desk, seed: int) -> None:
    made = make_archive(seed)
    task = new_task(desk, made)
    task.bring(made.files, **made.options)
    members = task.export()
    told = differences(made, members)
    assert not told, f"seed {seed} ({made.kind}): " + "\n".join(told[:12])
    with patch.object(Plan, "has_plain_lines", return_value=False):  # each line is looked into
        assert task.export() == members, f"seed {seed} ({made.kind})"
    with patch.object(AnnotationReader, "only_subset", return_value=None):  # the subset of each image is read
        assert task.export() == members, f"seed {seed} ({made.kind})"
    # What left comes in again, and leaves as the same: word for word, but for quotes that nobody needs.
    again = {name: value for name, value in made.options.items() if name != "unmatched"}
    task.bring(zip_of(members), **again)
    second = task.export()
    assert list(second) == list(members), f"seed {seed} ({made.kind})"
    for name, data in members.items():
        same = read_rows(second[name]) == read_rows(data) if name in annotated(members) else second[name] == data
        assert same, f"seed {seed} ({made.kind}): {name} changes with a second trip"
    desk.call("DELETE", task.path, 204)


def annotated(members: Mapping[str, bytes]) -> set[str]:
    """The tables that may be quoted in another way."""
    return {name for name in members if name.startswith("annotations/") and "-annotations-" in name}


@pytest.mark.parametrize("seed", range(SOME))
def test_an_archive_comes_back_cell_by_cell(desk: Desk, seed: int) -> None:
    trip(desk, seed)


@pytest.mark.long
@pytest.mark.parametrize("start", range(SOME, SOME + MANY, STEP))
def test_many_archives_come_back_cell_by_cell(tmp_path: Path, start: int) -> None:
    with Desk(tmp_path) as desk:
        for seed in range(start, start + STEP):
            trip(desk, seed)


def test_the_comparison_sees_a_lost_cell_and_a_changed_byte(desk: Desk) -> None:
    made = next(made for made in map(make_archive, range(100)) if made.pngs and not made.options)
    task = new_task(desk, made)
    task.bring(made.files)
    members = task.export()
    assert differences(made, members) == []
    for name, data in members.items():
        if name.endswith(
            ("images-with-rotation.csv", "bbox.csv", "imagelabels.csv", "segmentation.csv", ".png", ".json")
        ):
            header, line_end, body = data.partition(b"\n")
            other_cells = header + line_end + body.translate(bytes.maketrans(b"0123456789", b"1234567890"))
            spoiled = {**members, name: other_cells if name.endswith(".csv") else data + b"0"}
            assert differences(made, spoiled), name
        without = {other: body for other, body in members.items() if other != name}
        if "class-descriptions" not in name and "images.meta" not in name and "hierarchy" not in name:
            assert name.endswith("oid_extra.json") or differences(made, without), name
    assert zip_of(members)
