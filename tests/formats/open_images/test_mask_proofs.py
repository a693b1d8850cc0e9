"""Proofs made ahead change nothing but who makes them."""

from __future__ import annotations

import io
import os
import signal
import zipfile
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from app import helpers
from app.archive import BytesSource, open_archive
from app.errors import Report
from app.formats.open_images import mask_proofs
from app.formats.open_images.mask_proofs import MaskProofs
from app.images import encode_mask, encode_mask_grey
from tests.formats.builders import all_attributes, imported, labels, target
from tests.formats.memory import MemorySink
from tests.formats.open_images.parts import CLASSES, MASK_HEADER, MASKS
from tests.images.pngs import build

N_MASKS = 300
TASK = target({"a.jpg": (40, 30)}, labels("cat", attributes=all_attributes()))


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (helpers, mask_proofs):
        monkeypatch.setattr(module, "n_cores", lambda: 2)
    monkeypatch.setattr(mask_proofs, "HELPED_PROOFS", 1)
    monkeypatch.setattr(mask_proofs, "STRETCH_MASKS", 40)


def png_of(random: np.random.Generator, number: int) -> bytes:
    """Masks of the frame's size and others, blank, grey and broken ones."""
    height, width = (30, 40) if number % 3 else random.integers(1, 60, 2).tolist()
    pixels = random.random((height, width)) < (0.3 if number % 17 else 0)
    if number % 5 == 0:
        pixels[: height // 2] = True
        pixels[height // 2 :] = False
        png = build(pixels[:, :, np.newaxis].astype(np.int64), 0, 8, [1])  # as CVAT writes them
    else:
        png = (encode_mask_grey if number % 13 == 0 else encode_mask)(np.packbits(pixels, axis=1), width)
    return png[:60] if number % 29 == 7 else png


def zip_of_masks(n: int = N_MASKS) -> bytes:
    """Some are deflated, some large files lie between them, and the table has another order."""
    random = np.random.default_rng(8)
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr(CLASSES, "cat,cat\n")
        for number in range(n):
            method = zipfile.ZIP_DEFLATED if number % 4 == 0 else zipfile.ZIP_STORED
            archive.writestr(f"masks/train/m{number}.png", png_of(random, number), method)
            if number % 100 == 50:
                archive.writestr(f"note{number}.txt", random.bytes(40_000))
        rows = "".join(f"m{number}.png,a,cat,{number:08x},,,,,,\n" for number in random.permutation(n).tolist())
        archive.writestr(MASKS, MASK_HEADER + rows + "m1.png,a,cat,ff,,,,,,\n", zipfile.ZIP_DEFLATED)
    return body.getvalue()


def told(sink: MemorySink, report: Report) -> tuple[object, ...]:
    shapes, rows = sink.annotations().shapes, sink.annotations().rows
    columns = [column.tolist() for column in (shapes.kept.png_offsets, shapes.kept.png_sizes, shapes.kept.png_crcs)]
    runs = [shapes.runs.row(row).tolist() for row in range(len(shapes))]
    lines = shapes.kept.lines.to_texts(), rows.kept.lines.to_texts()
    return report.to_dict(), bytes(sink.pack), columns, runs, shapes.attributes.to_list(), lines


@pytest.mark.parametrize("traced", [False, True])
def test_an_import_is_the_same(traced: bool) -> None:
    data = zip_of_masks()
    alone = told(*imported(data, TASK, conv_mask_to_poly=traced))
    assert told(*imported(data, TASK, conv_mask_to_poly=traced, mask_helpers=1)) == alone
    assert len(alone[2][0]) > 200  # type: ignore[index]


@pytest.fixture
def proofs() -> Iterator[MaskProofs]:
    archive = open_archive(BytesSource(zip_of_masks()))
    numbers = archive.numbers(name for name in archive.names() if name.endswith(".png"))
    with MaskProofs(archive, numbers, 1, 1 << 20, 1 << 20) as proofs:
        yield proofs


def test_most_masks_are_proven_ahead_and_some_are_not(proofs: MaskProofs) -> None:
    random = np.random.default_rng(0)
    archive = open_archive(BytesSource(zip_of_masks()))
    numbers = archive.numbers(f"masks/train/m{number}.png" for number in random.permutation(N_MASKS).tolist())
    told = proofs.told(numbers)
    headers = [archive.read(archive.entries[number])[16:24] for number in numbers.tolist()]
    is_proven = told[:, 0] > 0
    assert 150 < int(is_proven.sum()) < 290
    assert [tuple(size) for size in told[is_proven, :2].tolist()] == [
        (int.from_bytes(head[:4], "big"), int.from_bytes(head[4:], "big"))
        for head, proven in zip(headers, is_proven.tolist(), strict=True)
        if proven
    ]
    assert int(told[:, 2].sum()) > 10
    # A number that was not asked for is not proven.
    assert not proofs.told(archive.numbers([CLASSES, MASKS])).any()


def test_a_helper_that_dies_costs_nothing_but_time(proofs: MaskProofs) -> None:
    helper = proofs._ahead._helper
    assert helper is not None
    os.kill(helper.pid, signal.SIGKILL)
    archive = open_archive(BytesSource(zip_of_masks()))
    told = proofs.told(archive.numbers(f"masks/train/m{number}.png" for number in range(N_MASKS)))
    assert int((told[:, 0] > 0).sum()) > 150


@pytest.mark.parametrize(("chosen", "is_proven_ahead"), [(None, True), (np.ones(1, dtype=np.bool_), False)])
def test_of_a_selection_nothing_is_proven_ahead(
    chosen: npt.NDArray[np.bool_] | None, is_proven_ahead: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[int] = []

    def enter(self: MaskProofs) -> MaskProofs:
        jobs.append(len(self._bounds))
        return self

    monkeypatch.setattr(MaskProofs, "__enter__", enter)
    monkeypatch.setattr(MaskProofs, "told", lambda self, numbers: np.zeros((len(numbers), 3), dtype=np.int64))
    imported(zip_of_masks(), replace(TASK, chosen=chosen), mask_helpers=1)
    assert len(jobs) == 1
    assert (jobs[0] > 0) == is_proven_ahead


@pytest.mark.parametrize(("n_helpers", "cores", "least"), [(0, 2, 1), (1, 1, 1), (1, 2, 1000)])
def test_few_masks_are_proven_by_nobody(
    n_helpers: int, cores: int, least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mask_proofs, "n_cores", lambda: cores)
    monkeypatch.setattr(mask_proofs, "HELPED_PROOFS", least)
    archive = open_archive(BytesSource(zip_of_masks(5)))
    numbers = archive.numbers(name for name in archive.names() if name.endswith(".png"))
    with MaskProofs(archive, numbers, n_helpers, 1 << 20, 1 << 20) as proofs:
        assert proofs._ahead._helper is None
        assert not proofs.told(numbers).any()


def test_masks_among_many_other_files_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mask_proofs, "LEAST_MASKS", 45)  # no stretch has so many
    archive = open_archive(BytesSource(zip_of_masks()))
    numbers = archive.numbers(name for name in archive.names() if name.endswith(".png"))
    with MaskProofs(archive, numbers, 1, 1 << 20, 1 << 20) as proofs:
        assert proofs._ahead._helper is None
        assert not proofs.told(numbers).any()
