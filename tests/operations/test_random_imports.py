"""Random archives, good and broken: a dry run tells what the real run does, whatever the options; merging again changes
nothing, and a corrected archive leaves what it would leave in an empty task.

A few seeds run always, hundreds with `pytest -m long tests/operations/test_random_imports.py`.
"""

from __future__ import annotations

import csv
import io
import random
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from app.operations import stream_dataset
from app.storage import tasks
from tests.desk import Desk, TaskDesk
from tests.formats.builders import read_zip, zip_of
from tests.formats.open_images.random_archives import Made, make_archive

SOME, MANY, STEP = 3, 300, 20
OPTIONS: list[dict[str, str]] = [
    {},
    {"conv_mask_to_poly": "true"},
    {"machine_labels": "tags"},
    {"classes": "Cat,Dog"},
    {"classes": "Cat", "only_matching": "true"},
    {"label_types": "detections,classifications"},
    {"max_images": "2", "seed": "3"},
    {"min_confidence": "0.5"},
    {"missing": "keep"},
]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with Desk(tmp_path_factory.mktemp("random")) as opened:
        yield opened


def archive_of(task: TaskDesk, **options: Any) -> bytes:
    """An export that is written now, whatever was written before."""
    pieces: list[bytes] = []
    job = {"task_id": task.number, **options}
    stream_dataset(task.desk.storage, job, lambda piece: pieces.append(bytes(piece)))
    return b"".join(pieces)


def revision(task: TaskDesk) -> int:
    with task.desk.storage.database.read() as conn:
        return tasks.load(conn, task.number).revision


def spoiled(files: Mapping[str, bytes], rng: random.Random, *, softly: bool) -> dict[str, bytes]:
    """The files with some cells, rows or bytes changed; `softly`: in ways that no reader refuses."""
    members = read_zip(files["upload.zip"])
    names = [name for name in members if name.lower().endswith(".csv") and "class" not in name.lower()]
    changed = dict(members)
    for _ in range(rng.randint(1, 3)):
        if not names:
            break
        name = rng.choice(names)
        if not softly and rng.random() < 0.2:
            body = bytearray(changed[name])
            if body:
                body[rng.randrange(len(body))] = rng.randrange(256)
            changed[name] = bytes(body)
            continue
        changed[name] = other_rows(changed[name], rng, softly)
    return {**files, "upload.zip": zip_of(changed)}


def other_rows(body: bytes, rng: random.Random, softly: bool) -> bytes:
    try:
        rows = list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error):
        return body
    places = [place for place, row in enumerate(rows) if place and row]
    if not places:
        return body
    place = rng.choice(places)
    header = [name.strip().casefold() for name in rows[0]]
    if softly:
        numbers = [at for at, name in enumerate(header) if name in ("confidence", "predictediou", "istruncated")]
        if rng.random() < 0.4 and len(places) > 2 and "subset" not in header:
            del rows[place]
        elif numbers and len(rows[place]) == len(header):
            rows[place][rng.choice(numbers)] = rng.choice(("0", "1"))
    else:
        way = rng.random()
        if way < 0.15:
            rows.append(list(rows[place]))
        elif way < 0.3:
            del rows[place]
        else:
            rows[place][rng.randrange(len(rows[place]))] = rng.choice(
                ("", "abc", "nan", "7", "-3", "nobody", "/m/unknown", "0.25", "a/../b", "2147483648", "0", "1")
            )
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def told(task: TaskDesk, files: Mapping[str, bytes], query: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    status, report = task.send(files, **query)
    return status, {name: value for name, value in report.items() if name != "dry_run"}


def rehearse(desk: Desk, seed: int) -> None:
    """Imports one after the other, each as a dry run first."""
    rng = random.Random(seed)
    made = make_archive(seed)
    task = desk.task(made.frames, made.labels)
    for turn in range(3):
        files = made.files if turn == 0 else spoiled(made.files, rng, softly=rng.random() < 0.5)
        query = {**made.options, **rng.choice(OPTIONS), "mode": rng.choice(("replace", "append", "merge"))}
        query["unmatched"] = rng.choice(("error", "skip"))
        before = archive_of(task), revision(task)
        dry = told(task, files, {**query, "dry_run": "true"})
        assert (archive_of(task), revision(task)) == before, f"seed {seed}, turn {turn}: a dry run changes something"
        real = told(task, files, query)
        assert real == dry, f"seed {seed}, turn {turn}: {query}"
        if real[0] != "finished":
            assert (archive_of(task), revision(task)) == before, (
                f"seed {seed}, turn {turn}: a refusal changes something"
            )
    desk.call("DELETE", task.path, 204)


def moves(report: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    found = {kind: (c["added"], c["removed"], c["changed"]) for kind, c in report["changes"].items()}
    return {kind: counts for kind, counts in found.items() if any(counts)}


def contents(archive: bytes) -> dict[str, Any]:
    """Members; of tables the rows in any order. The side file tells rows by their number, so it is another then."""
    members = {name: body for name, body in read_zip(archive).items() if not name.endswith("oid_extra.json")}
    return {name: content(name, body) for name, body in members.items()}


def content(name: str, body: bytes) -> Any:
    """An image that no list names goes by the id of the first row that has it: lists are compared by their pictures."""
    if name.endswith(("images-with-rotation.csv", "image_ids_and_rotation.csv")):
        return sorted([picture(row[0]), *row[1:]] for row in csv_rows(body))
    if name.endswith("images.meta"):  # other spellings of ids follow in the order of rows
        return {(picture(words[0]), *words[1:]) for line in body.decode().splitlines() if (words := shlex.split(line))}
    return sorted(csv_rows(body)) if name.endswith(".csv") else body


def picture(image: str) -> str:
    """The part of an id that all its spellings share."""
    return image.rpartition("/")[2].removesuffix(".jpg").removesuffix(".png")


def csv_rows(body: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(body.decode(), newline="")))


def merge_twice(desk: Desk, seed: int) -> None:
    rng = random.Random(seed)
    made = make_archive(seed)
    options = {**made.options, "conv_mask_to_poly": rng.choice(("true", "false"))}
    task = desk.task(made.frames, made.labels)
    first = task.bring(made.files, **options, mode="merge")
    assert {kind: counts["added"] for kind, counts in first["changes"].items()} == first["annotations"]
    before = archive_of(task), revision(task), task.annotations()
    again = task.bring(made.files, **options, mode="merge")
    assert moves(again) == {}, f"seed {seed}"
    assert (archive_of(task), revision(task), task.annotations()) == before, f"seed {seed}"
    own = task.bring(before[0], **options, mode="merge")
    assert contents(archive_of(task)) == contents(before[0]), f"seed {seed}: {moves(own)}"
    corrected = spoiled(made.files, rng, softly=True)
    task.bring(corrected, **options, mode="merge")
    fresh = desk.task(made.frames, made.labels)
    fresh.bring(corrected, **options)
    assert contents(archive_of(task)) == contents(archive_of(fresh)), f"seed {seed}"
    assert moves(task.bring(corrected, **options, mode="merge")) == {}, f"seed {seed}"
    for one in (task, fresh):
        desk.call("DELETE", one.path, 204)


@pytest.mark.parametrize("seed", range(SOME))
def test_a_dry_run_tells_what_the_real_run_does(desk: Desk, seed: int) -> None:
    rehearse(desk, seed)


SPELLED_TWICE = 103
"""Of one image two rows that say the same, but for the spelling of its id."""


@pytest.mark.parametrize("seed", [*range(SOME), SPELLED_TWICE])
def test_merging_again_changes_nothing_and_a_correction_what_it_says(desk: Desk, seed: int) -> None:
    merge_twice(desk, seed)


@pytest.mark.long
@pytest.mark.parametrize("start", range(SOME, SOME + MANY, STEP))
def test_many_dry_runs_tell_what_real_runs_do(tmp_path: Path, start: int) -> None:
    with Desk(tmp_path) as desk:
        for seed in range(start, start + STEP):
            rehearse(desk, seed)


@pytest.mark.long
@pytest.mark.parametrize("start", range(SOME, SOME + MANY, STEP))
def test_many_merges(tmp_path: Path, start: int) -> None:
    with Desk(tmp_path) as desk:
        for seed in range(start, start + STEP):
            merge_twice(desk, seed)


def test_the_archives_of_these_tests_differ() -> None:
    made: list[Made] = [make_archive(seed) for seed in range(SOME)]
    assert len({one.kind for one in made}) > 1
