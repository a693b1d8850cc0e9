"""Masks by jobs: a helper's answers are those of this process, in order, whatever becomes of the helper."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from app import helpers
from app.formats.open_images import mask_work
from app.formats.open_images.mask_work import MaskJob, MasksDone, digest_of, glance_at, mask_crew, work_masks
from app.geometry import (
    PackedMask,
    find_flips,
    flips_to_runs,
    mask_to_polygons,
    pack_mask,
    place_mask,
    resize_mask,
)
from app.helpers import Crew
from app.images import encode_mask, encode_mask_grey
from tests.reference_geometry import random_mask


def noise_job(random: np.random.Generator, traced: bool, n: int = 5) -> MaskJob:
    pngs, widths, heights = [], [], []
    for _ in range(n):
        height, width = random.integers(1, 40, 2).tolist()
        pixels = random.random((height, width)) < random.choice([0.02, 0.4, 0.9])
        encode = encode_mask if random.random() < 0.5 else encode_mask_grey
        pngs.append(encode(np.packbits(pixels, axis=1), width))
        widths.append(width if random.random() < 0.5 else int(random.integers(1, 60)))
        heights.append(height if random.random() < 0.5 else int(random.integers(1, 60)))
    pngs[int(random.integers(n))] = b"no picture"
    return MaskJob(pngs, widths, heights, traced, True, 1 << 20, 1 << 20)


def plainly(job: MaskJob, place: int) -> tuple[list[list[float]], list[int]]:
    """Outlines and runs of one mask, one step after the other."""
    done = work_masks(MaskJob([job.pngs[place]], [0], [0], False, False, 1 << 20, 1 << 20))
    if done.errors[0]:
        return [], []
    found = mask_work.decode_mask(job.pngs[place])
    mask = resize_mask(PackedMask(found.rows, found.width), job.widths[place], job.heights[place])
    if job.traced:
        return [outline.tolist() for outline in mask_to_polygons(mask)], []
    return [], flips_to_runs(find_flips(mask)).tolist()


def two_cores(monkeypatch: pytest.MonkeyPatch) -> Crew[int, MaskJob, MasksDone]:
    monkeypatch.setattr(helpers, "n_cores", lambda: 2)
    return Crew(work_masks, 1)


def same(one: MasksDone, other: MasksDone) -> bool:
    return (
        (one.errors, one.sizes, one.is_binary, one.is_dark, one.is_blank, one.too_complex)
        == (other.errors, other.sizes, other.is_binary, other.is_dark, other.is_blank, other.too_complex)
        and one.owners.tolist() == other.owners.tolist()
        and all(
            a.values.tolist() == b.values.tolist() and a.offsets.tolist() == b.offsets.tolist()
            for a, b in ((one.runs, other.runs), (one.outlines, other.outlines))
        )
    )


@pytest.mark.parametrize("traced", [False, True])
def test_a_job_is_its_masks_one_by_one(traced: bool) -> None:
    random = np.random.default_rng(4)
    for _ in range(20):
        job = noise_job(random, traced)
        done = work_masks(job)
        for place in range(len(job.pngs)):
            outlines = [done.outlines.row(part).tolist() for part in np.flatnonzero(done.owners == place).tolist()]
            assert (outlines, done.runs.row(place).tolist()) == plainly(job, place)


def test_masks_proven_before_are_not_looked_at_again() -> None:
    job = noise_job(np.random.default_rng(9), False, 4)
    proven = replace(job, pngs=[b"", *job.pngs[1:]], packed=True, proven=[(7, 8, 1), (0, 0, 0), (0, 0, 0), (0, 0, 0)])
    done, plain = work_masks(proven), work_masks(replace(job, packed=True))
    assert (done.errors[0], done.sizes[0], done.is_packed[0], done.is_blank[0]) == ("", (7, 8), True, False)
    assert done.is_dark[0]
    assert (done.errors[1:], done.sizes[1:], done.is_packed[1:]) == (
        plain.errors[1:],
        plain.sizes[1:],
        plain.is_packed[1:],
    )
    assert same(
        MasksDone.of_proven([(7, 8, 1)]),
        work_masks(replace(proven, pngs=[b""], widths=[7], heights=[8], proven=[(7, 8, 1)])),
    )


def test_a_helper_answers_as_this_process_does(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(5)
    jobs = [(number, noise_job(random, number % 2 == 1, 3)) for number in range(40)]
    with two_cores(monkeypatch) as crew:
        answers = list(crew.run(jobs))
    assert [ticket for ticket, _ in answers] == list(range(40))
    assert all(same(done, work_masks(job)) for (_, done), (_, job) in zip(answers, jobs, strict=True))


def test_a_helper_that_dies_costs_nothing_but_time(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(6)
    jobs = [(number, noise_job(random, True, 3)) for number in range(30)]

    def taken(crew: Crew[int, MaskJob, MasksDone]) -> Iterator[tuple[int, MaskJob]]:
        for number, job in jobs:
            if number == 7:
                os.kill(crew._helpers[0].pid, signal.SIGKILL)
            yield number, job

    with two_cores(monkeypatch) as crew:
        answers = list(crew.run(taken(crew)))
    assert [ticket for ticket, _ in answers] == list(range(30))
    assert all(same(done, work_masks(job)) for (_, done), (_, job) in zip(answers, jobs, strict=True))


def test_an_import_that_ends_early_leaves_no_helper(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(7)
    jobs = [(number, noise_job(random, True, 3)) for number in range(30)]
    crew = two_cores(monkeypatch)

    def cut_short() -> None:
        with crew:
            for number, _ in crew.run(jobs):
                if number == 3:
                    raise KeyError(number)

    with pytest.raises(KeyError):
        cut_short()
    assert crew._helpers[0]._process.poll() is not None


def test_few_masks_are_worked_on_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helpers, "n_cores", lambda: 2)
    assert [mask_crew(count, 1, True)._n_helpers for count in (0, 511, 512)] == [0, 0, 1]
    assert [mask_crew(count, 1, False)._n_helpers for count in (512, 4095, 4096)] == [0, 0, 1]
    assert mask_crew(10_000, 0, True)._n_helpers == 0
    assert [mask_crew(512, 1, *of)._unhelped for of in ((True,), (False,))] == [0, 1]
    assert mask_crew(512, 1, True, is_sure=False)._unhelped == 1
    monkeypatch.setattr(helpers, "n_cores", lambda: 1)
    assert mask_crew(10_000, 4, True)._n_helpers == 0


def test_a_glance_is_the_upper_half_of_the_digest() -> None:
    random = np.random.default_rng(5)
    seen = set()
    for kind in range(200):
        pixels = random_mask(random, kind)
        if pixels.any():
            left, top = (int(place) for place in random.integers(-9, 30, 2))
            mask = pack_mask(pixels, left, top)
            placed = place_mask(mask, 80, 80)
            assert glance_at(mask) == digest_of(find_flips(mask)) >> 16
            if left >= 0 and top >= 0:
                assert glance_at(placed) == glance_at(mask)
            seen.add(glance_at(mask))
    assert len(seen) > 120


def test_a_job_is_answered_in_part_where_its_outlines_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mask_work, "TRACED_AT_ONCE", 3)
    specks = np.zeros((20, 20), dtype=np.bool_)
    specks[::2, ::2] = True
    png = encode_mask(np.packbits(specks, axis=1), 20)
    job = MaskJob([png] * 10, [20] * 10, [20] * 10, True, False, 1 << 20, 1 << 20)
    whole = work_masks(job)
    monkeypatch.setattr(mask_work, "MAX_OUTLINES", 500)
    part = work_masks(job)
    assert (len(whole), len(part)) == (10, 6)
    assert np.array_equal(part.owners, whole.owners[:600])
    assert np.array_equal(part.outlines.values, whole.outlines.values[: whole.outlines.offsets[600]])
