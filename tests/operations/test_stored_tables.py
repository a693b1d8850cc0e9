"""Tables leave as they are stored where nothing of a block changed: the bytes that every line made anew would give."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from app.annotations import Annotations
from app.archive import writer
from app.blocks import codec
from app.columns import StoredLines
from app.deflate import Piece
from app.storage import annotations as stored
from app.storage import jobs
from tests.formats.builders import zip_of
from tests.operations.desk import Desk, label_drafts, open_desk_store, with_points
from tests.samples import BOX_FIELDS, IMAGE_FIELDS, TAG_FIELDS
from tests.storage.stores import shapes as plain_shapes

N_FRAMES = 300
NAMES = [f"{number:04}.png" for number in range(N_FRAMES)]


@pytest.fixture(autouse=True, params=[1, 700, 16 << 10])
def _short(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "SMALL_BYTES", request.param)
    monkeypatch.setattr(writer, "SMALL_BYTES", request.param)


def archive(seed: int, subsets: tuple[str, ...] = ("train",), *, is_full: bool = False) -> bytes:
    """Image lists, boxes, and labels there and absent, of most pictures in any order; of all of them, and without
    absent ones, which lie apart from the others, where it `is_full`."""
    rng = random.Random(seed)
    files = {"annotations/class-descriptions.csv": ["/m/01yrx,cat", "/m/0bt9lr,dog"]}
    for subset in subsets:
        files[f"annotations/{subset}-images-with-rotation.csv"] = [",".join(IMAGE_FIELDS)]
        files[f"annotations/{subset}-annotations-bbox.csv"] = [",".join(BOX_FIELDS)]
        files[f"annotations/{subset}-annotations-human-imagelabels.csv"] = [",".join(TAG_FIELDS)]
    stems = [name.removesuffix(".png") for name in NAMES]
    rng.shuffle(stems)
    for stem in stems[: N_FRAMES - 20 * (not is_full)]:
        number = rng.randrange(len(subsets))
        images, boxes, tags = list(files.values())[1 + 3 * number :][:3]
        images.append(f'{stem},{subsets[number]},,,,,,"a title, of {stem}{"!" * rng.choice((1, 99))}",,,,')
        for _ in range(rng.choice((0, 1, 2, 9))):
            x, y, source = rng.random() / 2, rng.random() / 2, "x" * rng.choice((3, 90))
            label, corners = rng.choice(("/m/01yrx", "/m/0bt9lr")), f"{x:.6f},{x + 0.3:.6f},{y:.6f},{y + 0.4:.6f}"
            boxes.append(f"{stem},{source},{label},1,{corners},0,0,0,0,0")
        tags += [
            f"{stem},s{rng.random()},/m/01yrx,{1 if is_full else rng.choice('01')}"
            for _ in range(rng.choice((0, 1, 4)))
        ]
    return zip_of({name: "\n".join([*lines, ""]) for name, lines in files.items()})


class Exports:
    """Exports of a task, and how many blocks were copied."""

    def __init__(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        self.desk, self.monkeypatch = desk, monkeypatch
        self.n_copied = 0
        self.whole_parts = StoredLines.whole_parts

    def check(self, **options: object) -> int:
        """Both ways give the same bytes. Returns how many blocks were copied."""
        self.n_copied = 0

        def counted(lines: StoredLines, bounds: np.ndarray) -> list[Piece | None]:
            pieces = self.whole_parts(lines, bounds)
            self.n_copied += sum(piece is not None for piece in pieces)
            return pieces

        with self.monkeypatch.context() as patch:
            patch.setattr(StoredLines, "whole_parts", counted)
            found = self.desk.export(**options)
        with self.monkeypatch.context() as patch:
            patch.setattr(StoredLines, "whole_parts", lambda _, bounds: [None] * (len(bounds) - 1))
            assert self.desk.export(**options) == found
        with zipfile.ZipFile(io.BytesIO(found)) as opened:
            assert opened.testzip() is None
        return self.n_copied


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with open_desk_store(tmp_path / "store") as storage:
        yield Desk(storage, NAMES, [(80, 60)] * N_FRAMES, ((0, 100), (100, 200), (200, N_FRAMES)), label_drafts())


def test_blocks_that_nobody_touched_are_copied(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    exports = Exports(desk, monkeypatch)
    assert desk.bring(archive(1, is_full=True))["changes"]["shapes"]["added"] > 500
    n_all = exports.check()
    if codec.SMALL_BYTES == 1:
        assert n_all == 3 * (-(-N_FRAMES // 64)), "five blocks of images, of boxes and of labels"
    for options in ({"layout": "fiftyone"}, {"label_ids": "name"}, {"layout": "official"}, {"classes": "cat"}):
        exports.check(**options)
    exports.check(subsets="train")

    def touch_box() -> None:
        desk.edit("shapes", lambda table: with_points(table, [(1, 2, 11, 12)]), [1])

    def draw() -> None:
        desk.draw(Annotations(shapes=plain_shapes([130]).replace(label_ids=np.array([desk.label_id("cat")], np.int32))))

    def delete_box() -> None:
        desk.remove(shapes=desk.load().shapes.ids[:1].tolist())

    changes: list[Callable[[], object]] = [
        lambda: desk.bring(archive(1)),
        touch_box,
        draw,
        delete_box,
        lambda: desk.bring(archive(2), mode="append"),
        lambda: desk.bring(archive(3), mode="merge"),
    ]
    for change in changes:
        change()
        exports.check()
        exports.check(layout="fiftyone")
    with desk.storage.database.read() as conn:
        found = jobs.of_task(conn, desk.task_id)
    for job in found:
        exports.check(job_id=job.id)


def test_subsets_of_one_block_are_made_apart(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    exports = Exports(desk, monkeypatch)
    desk.bring(archive(4, ("train", "test")))
    exports.check()
    exports.check(layout="fiftyone")


def test_what_lies_in_the_store_in_another_way_is_the_same(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an earlier version, or in other parts: nothing but what the task holds is seen in its export."""
    desk.bring(archive(5))
    found = desk.export()
    with monkeypatch.context() as patch, desk.storage.database.write() as conn:
        patch.setattr(codec, "SMALL_BYTES", 1 << 40)  # as they were stored before
        stored.replace_all(conn, desk.task_id, stored.load(conn, desk.task_id))
    assert desk.export() == found
