"""The same state gives the same bytes: in another process with other hashes, in another store, after a restart, after a
backup, whatever was done to the task in between, and however its rows lie in the store."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from app.annotations import Annotations
from app.archive import ArchiveWriter
from app.storage import annotations as stored
from tests.operations.desk import Desk, open_desk_store, with_points
from tests.operations.test_merge import Zips, sample
from tests.samples import OpenImages
from tests.storage.stores import shapes as plain_shapes

EXPORTS = ({}, {"label_ids": "name", "rotated": "both"}, {"layout": "fiftyone"})


def with_long_cells() -> OpenImages:
    """Long and odd texts, many classes: what sets and hashes could put in another order."""
    built = sample()
    built.classes += [(f"/m/{number}", f"class {number}") for number in range(200)]
    built.tag("b", "/m/01yrx", source="x" * 2000, subset="train")
    built.tag("b", "/m/01yrx", source="y" * 2000, subset="train")
    built.more |= {f"more/{number}.txt": b"%d" % number for number in range(40)}
    return built


def digests(folder: Path) -> list[str]:
    """A task made, edited and exported in a new store; reopened for every export."""
    folder.mkdir()
    archive = Zips(folder)(with_long_cells())
    with open_desk_store(folder / "store") as storage:
        desk = Desk(storage)
        desk.bring(archive)
        desk.bring(archive, mode="append")
        desk.edit("shapes", lambda table: with_points(table, [(1, 2, 11, 12)]), [1])
        label_ids = np.array([desk.label_id("dog")] * 2, dtype=np.int32)
        desk.draw(Annotations(shapes=plain_shapes([0, 2]).replace(label_ids=label_ids)))
    found = []
    for options in EXPORTS:
        with open_desk_store(folder / "store") as storage:
            desk.storage = storage
            found.append(hashlib.sha256(desk.export(**options)).hexdigest())
    return found


def test_other_processes_and_stores_write_the_same_bytes(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.operations.test_same_bytes import digests\n"
        "print(' '.join(digests(Path(sys.argv[1]))))"
    )
    expected = digests(tmp_path / "here")
    for seed in ("4242",):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": "Asia/Tokyo", "LC_ALL": "C"}
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / seed)],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == expected


def test_a_change_and_its_undoing_leave_the_bytes_as_they_were(tmp_path: Path) -> None:
    with open_desk_store(tmp_path / "store") as storage:
        desk = Desk(storage)
        desk.bring(Zips(tmp_path)(sample()))
        before = desk.export()
        drawn = desk.draw(Annotations(shapes=plain_shapes([0, 1])))
        assert desk.export() != before
        desk.remove(shapes=drawn.shapes.ids.tolist())
        assert desk.export() == before
        with storage.database.write() as conn:  # everything written anew, as one part a block
            found = stored.load(conn, desk.task_id)
            stored.replace_all(conn, desk.task_id, found)
        assert desk.export() == before


def test_members_do_not_depend_on_how_they_are_written() -> None:
    random = np.random.default_rng(5)
    body = random.integers(48, 58, 1_500_000, dtype=np.uint8).tobytes()

    def written(cuts: list[int]) -> bytes:
        pieces: list[bytes] = []
        archive = ArchiveWriter(lambda piece: pieces.append(bytes(piece)))
        with archive.open_deflated("a.csv") as member:
            for start, stop in zip([0, *cuts], [*cuts, len(body)], strict=True):
                member.write(body[start:stop])
        archive.close()
        return b"".join(pieces)

    expected = written([])
    for _ in range(4):
        assert written(np.sort(random.integers(0, len(body), 50)).tolist()) == expected
