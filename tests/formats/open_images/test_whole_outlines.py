"""Polygons that are still the outline of their mask: the same archive as if they were drawn and traced."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import numpy as np
import orjson
import pytest

from app import helpers
from app.annotations import Annotations, Edit, Shapes
from app.columns import Ragged
from app.deflate import Piece
from app.formats.open_images import mask_drawing, mask_jobs, read_masks, write_masks
from app.formats.open_images.kept_bytes import EARLIER_WORD, NOTE
from app.formats.open_images.kept_rows import Mask
from app.formats.open_images.mask_drawing import DrawJob, draw_masks
from app.formats.open_images.mask_instances import Instance
from app.formats.open_images.mask_work import digest_of
from app.formats.open_images.plan import Plan
from app.formats.open_images.side_pieces import GAP
from app.geometry import PackedMask, find_flips, place_mask, polygons_to_mask, tighten_mask
from app.images import encode_mask, encode_mask_grey
from tests.formats.builders import all_attributes, exported, good, labels, read_zip, target
from tests.formats.memory import MemorySink, MemorySource
from tests.formats.open_images.parts import BOX_HEADER, BOXES, CLASSES, LIST, LIST_HEADER, MASK_HEADER, MASKS
from tests.reference_geometry import random_mask
from tests.samples import mask_png

SIZE = (37, 29)
TASK = target({"a.jpg": SIZE, "b.jpg": SIZE}, labels("cat", "dog", attributes=all_attributes()))
N_MASKS = 27


@pytest.fixture(scope="module", params=["noted", "not noted"])
def sink(request: pytest.FixtureRequest) -> MemorySink:
    """Masks of many parts, some at another size, some linked to boxes, on two images; as earlier versions kept them,
    too."""
    if request.param == "noted":
        return masks_of_many_parts()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read_masks, "parts_note", lambda *_: b"")
        return masks_of_many_parts()


def masks_of_many_parts() -> MemorySink:
    random = np.random.default_rng(1)
    members: dict[str, str | bytes] = {CLASSES: "/m/c,cat\n/m/d,dog\n", LIST: LIST_HEADER + "a,train,,,,,,,,,,\n"}
    boxes, rows = [], []
    for number in range(N_MASKS):
        pixels = random_mask(random, number, 30) if number % 3 else random.random(SIZE[::-1]) < 0.3
        members[f"masks/train/m{number}.png"] = mask_png(pixels)
        image, label, left = "ab"[number % 2], "cd"[number % 5 == 0], f"0.{number + 10}"
        corners = f"{left},0.9,0.125,0.75" if number % 4 else ",,,"
        rows.append(f"m{number}.png,{image},/m/{label},{number:08x},{corners},0.5{number},\n")
        if number % 4:
            boxes.append(f"{image},xclick,/m/{label},1,{left},0.9,0.125,0.75,0,0,0,0,0\n")
    members |= {BOXES: BOX_HEADER + "".join(boxes), MASKS: MASK_HEADER + "".join(rows)}
    return good(members, TASK, conv_mask_to_poly=True)[0]


def untouched(shapes: Shapes) -> Shapes:
    return shapes


def one_in_five_gone(shapes: Shapes) -> Shapes:
    return shapes.take(np.arange(len(shapes)) % 5 != 2)


def marked(flag: Edit, every: int) -> Callable[[Shapes], Shapes]:
    def change(shapes: Shapes) -> Shapes:
        edits = shapes.kept.edits.copy()
        edits[::every] |= np.uint8(flag)
        return shapes.replace(kept=shapes.kept.replace(edits=edits))

    return change


def relabelled(shapes: Shapes) -> Shapes:
    changed = marked(Edit.LABEL, 3)(shapes)
    label_ids = changed.label_ids.copy()
    label_ids[::3] = 3 - label_ids[::3]
    return changed.replace(label_ids=label_ids)


def joined_by_new_ones(shapes: Shapes) -> Shapes:
    more = shapes.take(np.arange(0, len(shapes), 4))
    more = more.replace(kept=type(more.kept).empty(len(more)))
    both = Shapes.concatenate([shapes, more])
    return both.take(np.argsort(both.frames, kind="stable"))


EDITS = {
    "untouched": untouched,
    "parts deleted": one_in_five_gone,
    "said to have moved": marked(Edit.GEOMETRY, 7),
    "other attributes": marked(Edit.ATTRIBUTES, 2),
    "out of their group": marked(Edit.GROUP, 2),
    "relabelled": relabelled,
    "joined by new shapes": joined_by_new_ones,
}


@pytest.fixture(params=EDITS)
def source(request: pytest.FixtureRequest, sink: MemorySink) -> MemorySource:
    found = sink.annotations()
    shapes = EDITS[request.param](found.shapes)
    shapes = shapes.replace(ids=np.arange(1, len(shapes) + 1, dtype=np.int64))
    return MemorySource.of_sink(sink, TASK.frames, Annotations(shapes=shapes, images=found.images))


def none_whole(plan: Plan, shapes: Shapes, instances: Sequence[Instance], *_: object) -> Mask:
    return np.zeros(len(instances), dtype=np.bool_)


OPTIONS = [{}, {"side_file": False}, {"layout": "official"}, {"label_ids": "name"}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_archive_is_that_of_drawing_and_tracing(
    source: MemorySource, options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = read_zip(exported(source, TASK, **options)[0])
    with monkeypatch.context() as patch:
        patch.setattr(write_masks, "untouched_outlines", none_whole)
        patch.setattr(mask_jobs, "whole_outlines", none_whole)
        patch.setattr(write_masks, "whole_outlines", none_whole)
        expected = read_zip(exported(source, TASK, **options)[0])
    assert list(found) == list(expected)
    for name, data in expected.items():
        assert found[name] == data, name


def test_polygons_are_drawn_in_parts_as_at_once(source: MemorySource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mask_jobs, "whole_outlines", none_whole)
    expected = exported(source, TASK)[0]
    for values in (1, 40):
        monkeypatch.setattr(mask_drawing, "DRAWN_VALUES", values)
        assert exported(source, TASK)[0] == expected
    monkeypatch.setattr(write_masks, "TAKEN_BYTES", 1)  # so many wait for their rows
    for at_once in (1, 3):
        monkeypatch.setattr(mask_jobs, "TAKEN_AT_ONCE", at_once)
        assert exported(source, TASK)[0] == expected


def test_a_helper_draws_what_is_drawn_here(sink: MemorySink, monkeypatch: pytest.MonkeyPatch) -> None:
    """It begins while boxes are written, and its answers wait on disk."""
    found = sink.annotations()
    shapes = EDITS["said to have moved"](found.shapes)
    edited = Annotations(shapes=shapes.replace(ids=np.arange(1, len(shapes) + 1, dtype=np.int64)), images=found.images)
    source = MemorySource.of_sink(sink, TASK.frames, edited, batch_frames=1)
    expected = exported(source, TASK)[0]
    monkeypatch.setattr(helpers, "n_cores", lambda: 2)
    monkeypatch.setattr(mask_jobs, "TAKEN_AT_ONCE", 1)
    monkeypatch.setattr(mask_jobs, "UNHELPED_JOBS", 0)
    monkeypatch.setattr(mask_jobs, "JOBS_AHEAD", 2)
    begun: list[object] = []
    monkeypatch.setattr(helpers.Helper, "has_room", waiting_for_its_start(helpers.Helper.has_room, begun))
    assert exported(source, TASK, mask_helpers=1)[0] == expected
    assert begun


def waiting_for_its_start(
    has_room: Callable[[helpers.Helper], bool], begun: list[object]
) -> Callable[[helpers.Helper], bool]:
    def patched(helper: helpers.Helper) -> bool:
        helper.wait()
        begun.append(helper)
        return has_room(helper)

    return patched


def test_an_untouched_outline_is_neither_drawn_nor_traced(sink: MemorySink, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(plan: Plan, shapes: Shapes, instances: list[object]) -> list[object]:
        assert not instances
        return []

    monkeypatch.setattr(write_masks, "draw_instances", refuse)
    source = MemorySource.of_sink(sink, TASK.frames, sink.annotations())
    members = read_zip(exported(source, TASK)[0])
    assert sum(name.endswith(".png") for name in members) == N_MASKS


def test_notes_of_earlier_imports_tell_how_many_parts_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    noted = masks_of_many_parts()
    monkeypatch.setattr(read_masks, "parts_note", lambda n_parts, _: NOTE.pack(EARLIER_WORD, n_parts, 1))
    earlier = masks_of_many_parts()
    assert bytes(earlier.pack) != bytes(noted.pack)
    monkeypatch.setattr("app.formats.open_images.whole_outlines._of_equal_area", lambda *_: [])  # nothing is decoded
    for edit in ("untouched", "parts deleted", "said to have moved"):
        found = []
        for sink in (noted, earlier):
            annotations = sink.annotations()
            shapes = EDITS[edit](annotations.shapes)
            source = MemorySource.of_sink(sink, TASK.frames, Annotations(shapes=shapes, images=annotations.images))
            found.append(exported(source, TASK)[0])
        assert found[0] == found[1]


def enlarged(mask: PackedMask) -> bytes:
    """The PNG of a mask at twice its size."""
    pixels = np.unpackbits(mask.rows, axis=1, count=mask.width).repeat(2, axis=0).repeat(2, axis=1)
    return encode_mask(np.packbits(pixels, axis=1), 2 * mask.width)


def test_a_job_of_polygons_is_what_drawing_them_one_by_one_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(11)
    polygons = [random.uniform(-5, 45, (int(random.integers(1, 9)), 2)) for _ in range(40)]
    owners = np.sort(random.integers(0, 12, len(polygons)))
    points = Ragged.from_arrays([polygon.reshape(-1) for polygon in polygons], np.float64)
    sizes = random.integers(20, 60, (12, 2)).tolist()
    whole: list[PackedMask | None] = []
    for number, (width, height) in enumerate(sizes):
        parts = [polygons[place] for place in np.flatnonzero(owners == number).tolist()]
        mask = polygons_to_mask(parts, width, height)
        whole.append(None if mask is None else place_mask(mask, width, height))
    digests = [None if mask is None else digest_of(find_flips(mask)) for mask in whole]
    same = [b"" if mask is None else encode_mask(mask.rows, mask.width) for mask in whole]
    grey = [b"" if mask is None else encode_mask_grey(mask.rows, mask.width) for mask in whole]
    twice = [b"" if mask is None else enlarged(mask) for mask in whole]
    other = encode_mask(np.full((20, 3), 0x0F, dtype=np.uint8), 20)
    stored = [(b"", same[n], (grey, twice)[n // 6][n], same[n], other, other)[n % 6] for n in range(12)]
    noted = [(None, None, digests[n], 7, None, digests[n])[n % 6] for n in range(12)]
    widths, heights = zip(*sizes, strict=True)
    n_parts = np.bincount(owners, minlength=12).tolist()
    drafts = [GAP.join([b"{<", *[b"|"] * n_parts[n], b">"]) if n % 2 == 0 else b"" for n in range(12)]
    checks = [b"stored"] * 12
    job = DrawJob(points.values, points.offsets, owners, widths, heights, stored, noted, True, drafts, checks)
    monkeypatch.setattr(helpers, "n_cores", lambda: 2)
    with helpers.Crew(draw_masks, 1) as crew:
        helped = [done for _, done in crew.run([(None, job)] * 3)]
    n_pieces = 0
    for found in (draw_masks(job), *helped):
        assert found is not None
        assert [drawn is None for drawn in found] == [mask is None for mask in whole]
        for number, (drawn, mask) in enumerate(zip(found, whole, strict=True)):
            if drawn is None or mask is None:
                continue
            own = [points.row(place).tolist() for place in np.flatnonzero(owners == number).tolist()]
            png = b"%08x,%d" % (zlib.crc32(drawn.png), len(drawn.png)) if drawn.png is not None else b"stored"
            entry = b"{<" + b"|".join([png, *map(orjson.dumps, own)]) + b">"
            if isinstance(drawn.entry, Piece):
                assert zlib.decompressobj(-15).decompress(drawn.entry.packed) == entry[1:]
                assert (drawn.entry.crc, drawn.entry.size) == (zlib.crc32(entry[1:]), len(entry) - 1)
            else:
                assert drawn.entry == (b"" if number % 2 else entry)
            n_pieces += isinstance(drawn.entry, Piece)
            assert drawn.png == (None if number % 6 in (1, 2) else encode_mask(mask.rows, mask.width))
            tight = tighten_mask(mask)
            assert tight is not None
            assert drawn.edges == (tight.left, tight.top, tight.left + tight.width, tight.top + tight.height)
    assert n_pieces > 4, "some have so many points that they wait deflated"


def test_a_job_with_a_polygon_that_is_too_complex_is_done_one_by_one(
    source: MemorySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mask_jobs, "whole_outlines", none_whole)
    expected = exported(source, TASK)[0]
    monkeypatch.setattr(mask_jobs, "draw_masks", lambda job: None)
    assert exported(source, TASK)[0] == expected
