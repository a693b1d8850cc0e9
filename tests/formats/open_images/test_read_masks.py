"""Mask tables to masks and polygons, their PNGs kept."""

from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from app.annotations import Annotations, Shapes, ShapeType, packed_masks
from app.archive import BytesSource, open_archive
from app.errors import ImportProblems, Report
from app.formats import ImportOptions
from app.geometry import place_mask, polygon_to_mask, unpack_mask
from tests.formats.builders import (
    OPEN_IMAGES,
    all_attributes,
    attribute_values,
    good,
    imported,
    labels,
    places,
    target,
    zip_of,
)
from tests.formats.memory import MemorySink
from tests.formats.open_images.parts import (
    BOX_HEADER,
    BOXES,
    CLASSES,
    MASK_HEADER,
    MASKS,
    pixels,
    rectangle_png,
)
from tests.samples import mask_of_runs

TASK = target({"a.jpg": (8, 6), "b.jpg": (8, 6)}, labels("cat", "dog", attributes=all_attributes()))
NAMES = "cat,cat\ndog,dog\n"
PNG = rectangle_png(8, 6, 1, 1, 6, 4)
BOX = "a,,cat,1,0.125,0.75,0.2,0.7,0,0,0,0,0\n"
LINKED = "m.png,a,cat,00000000,0.125,0.75,0.2,0.7,0.9,\n"
ALONE = "m.png,a,cat,00000000,,,,,,\n"


def archive(rows: str, pngs: dict[str, bytes] | None = None, boxes: str = "") -> dict[str, str | bytes]:
    files = {"masks/train/m.png": PNG} if pngs is None else pngs
    return {MASKS: MASK_HEADER + rows, CLASSES: NAMES, BOXES: BOX_HEADER + boxes, **files}


def shapes_of(sink: MemorySink) -> Shapes:
    return sink.annotations().shapes


def pixels_of(shapes: Shapes, row: int, width: int = 8, height: int = 6) -> list[str]:
    """The pixels of a shape, drawn slowly."""
    if shapes.types[row] == ShapeType.MASK:
        mask = mask_of_runs(shapes.runs.row(row).tolist(), width, height)
    else:
        packed = polygon_to_mask(shapes.points.row(row), width, height)
        assert packed is not None
        mask = unpack_mask(place_mask(packed, width, height))
    return ["".join("#" if pixel else "." for pixel in line) for line in mask.tolist()]


def test_a_mask_is_runs_of_its_tight_crop_and_its_png_is_kept() -> None:
    sink, report = good(archive(ALONE), TASK)
    shapes = shapes_of(sink)
    assert (shapes.types.tolist(), shapes.groups.tolist()) == ([ShapeType.MASK], [0])
    assert shapes.runs.row(0).tolist() == [0, 15, 1, 1, 5, 3]
    kept = shapes.kept
    assert bytes(sink.pack[kept.png_offsets[0] : kept.png_offsets[0] + kept.png_sizes[0]]) == PNG
    assert kept.lines.to_texts() == [ALONE.strip()]
    assert attribute_values(TASK, 1, shapes.attributes.row(0)) == {"box_id": "00000000"}
    assert report.problems() == []


def test_a_linked_mask_shares_the_group_of_its_box() -> None:
    sink, report = good(archive(LINKED, boxes=BOX + BOX.replace("0.75", "0.8")), TASK)
    shapes = shapes_of(sink)
    by_type = dict(zip(shapes.types.tolist(), shapes.groups.tolist(), strict=True))
    assert sorted(shapes.groups.tolist()) == [0, 1, 1]
    assert by_type[ShapeType.MASK] == 1
    mask = int(np.flatnonzero(shapes.types == ShapeType.MASK)[0])
    assert attribute_values(TASK, 1, shapes.attributes.row(mask)) == {"box_id": "00000000", "predicted_iou": "0.9"}
    assert report.problems() == []


@pytest.mark.parametrize(
    ("cells", "code", "column"),
    [
        ("0.125,0.75,0.2,0.6", "mask.box_unlinked", "BoxXMin"),
        ("0.125,,0.2,0.6", "mask.box_partial", None),
        (",,,0.6", "mask.box_partial", None),
    ],
)
def test_masks_without_their_box_stand_alone(cells: str, code: str, column: str | None) -> None:
    sink, report = good(archive(f"m.png,a,cat,0,{cells},,\n", boxes=BOX), TASK)
    assert shapes_of(sink).groups.tolist() == [0, 0]
    assert places(report.warnings) == [(code, MASKS, 2, column)]


def test_a_box_of_another_label_is_no_box_of_the_mask() -> None:
    sink, _ = good(archive(LINKED.replace("cat", "dog"), boxes=BOX), TASK)
    assert shapes_of(sink).groups.tolist() == [0, 0]


@pytest.mark.parametrize(
    "path",
    [
        "masks/train/m.png",
        "masks/m.png",
        "masks/other/m.png",
        "labels/masks/M/m.png",
        "train-masks-a/m.png",
        "anywhere/m.png",
        "root/masks/train/m.png",
    ],
)
def test_where_a_png_may_lie(path: str) -> None:
    sink, report = good(archive(ALONE, {path: PNG}), TASK)
    assert len(shapes_of(sink)) == 1
    assert report.problems() == []


def test_the_folder_of_the_rows_subset_comes_first() -> None:
    other = rectangle_png(8, 6, 0, 0, 1, 1)
    sink, report = good(archive(ALONE, {"masks/val/m.png": other, "masks/train/m.png": PNG}), TASK)
    assert shapes_of(sink).runs.row(0).tolist() == [0, 15, 1, 1, 5, 3]
    assert places(report.warnings) == [("mask.unreferenced", "masks/val/m.png", None, None)]
    sink, _ = good(archive(ALONE, {"masks/val/m.png": other, "masks/m.png": PNG}), TASK)
    assert shapes_of(sink).runs.row(0).tolist() == [0, 15, 1, 1, 5, 3]


@pytest.mark.parametrize(
    ("row", "pngs", "code", "column"),
    [
        (ALONE, {}, "mask.missing_file", "MaskPath"),
        (ALONE, {"masks/x/m.png": PNG, "masks/y/m.png": PNG}, "mask.ambiguous_file", "MaskPath"),
        (ALONE.replace("m.png", "x/m.png"), None, "mask.bad_path", "MaskPath"),
        (ALONE.replace("m.png", ".."), None, "mask.bad_path", "MaskPath"),
        (ALONE.replace("m.png", "x\\m.png"), None, "mask.bad_path", "MaskPath"),
        (ALONE.replace("m.png", ""), None, "value.missing", "MaskPath"),
        (ALONE, {"masks/train/m.png": b"no picture"}, "mask.bad_png", "MaskPath"),
        (ALONE, {"masks/train/m.png": PNG[:40]}, "mask.bad_png", "MaskPath"),
        (ALONE.replace("00000000", "a/b"), None, "mask.bad_box_id", "BoxID"),
        (ALONE.replace("00000000", "."), None, "mask.bad_box_id", "BoxID"),
        (LINKED.replace("0.9", "1.5"), None, "value.range", "PredictedIoU"),
        (LINKED.replace("0.9", "x"), None, "value.not_number", "PredictedIoU"),
        (LINKED.replace("0.125", "125"), None, "value.range", "BoxXMin"),
        (LINKED.replace("0.125", "x"), None, "value.not_number", "BoxXMin"),
        (ALONE.replace(",a,", ",zz,"), None, "image.unmatched", "ImageID"),
        (ALONE.replace(",cat,", ",bird,"), None, "label.unknown", "LabelName"),
    ],
)
def test_errors_have_their_place(row: str, pngs: dict[str, bytes] | None, code: str, column: str) -> None:
    good_row, good_png = ALONE.replace("m.png", "ok.png"), {"masks/train/ok.png": PNG}
    files = good_png | ({"masks/train/m.png": PNG} if pngs is None else pngs)
    sink, report = imported(archive(good_row + row, files), TASK)
    assert places(report.errors) == [(code, MASKS, 3, column)]
    assert len(shapes_of(sink)) == 1
    assert (report.tables[MASKS].kept, report.tables[MASKS].dropped) == (1, 1)


def test_a_missing_file_names_the_nearest() -> None:
    _, report = imported(archive(ALONE.replace("m.png", "M1.png"), {"masks/train/m1.png": PNG}), TASK)
    assert report.errors[0].suggestion == "m1.png"
    _, report = imported(archive(ALONE.replace("m.png", "m.jpg"), {"masks/train/m.jpg": PNG}), TASK)
    assert places(report.errors) == [("mask.missing_file", MASKS, 2, "MaskPath")]
    assert report.errors[0].message.startswith('"masks/train/m.jpg" is not read: masks are PNGs')
    members = {name: text for name, text in archive(ALONE).items() if not name.endswith(".png")}
    for more, hint in (
        ({}, "; there are no masks in the zip"),
        ({"x/masks.zip": "PK"}, '. "x/masks.zip" is not looked'),
    ):
        assert hint in imported(members | more, TASK)[1].errors[0].message


def test_the_size_of_a_png_is_limited_before_it_is_decoded() -> None:
    for limit in ({"max_mask_pixels": 47}, {"max_mask_bytes": len(PNG) - 1}):
        _, report = imported(archive(ALONE), TASK, **limit)
        assert places(report.errors) == [("mask.bad_png", MASKS, 2, "MaskPath")]
    _, report = good(archive(ALONE), TASK, max_mask_pixels=48, max_mask_bytes=len(PNG))


def test_an_empty_box_id_is_accepted() -> None:
    _, report = good(archive(ALONE.replace("00000000", "")), TASK)
    assert places(report.warnings) == [("value.missing", MASKS, 2, "BoxID")]


def test_a_table_of_three_columns() -> None:
    members = {"masks_data.csv": "MaskPath,ImageID,LabelName\nm.png,a,cat\n", CLASSES: NAMES, "masks/val/m.png": PNG}
    sink, report = good(members, TASK)
    assert len(shapes_of(sink)) == 1
    assert report.problems() == []
    assert sink.annotations().images.subsets.to_list() == ["val"], "told by the folder of the mask"


def picture(mode: str, value: object, background: object = 0) -> bytes:
    image = Image.new(mode, (8, 6), background)  # type: ignore[arg-type]
    image.putpixel((2, 3), value)  # type: ignore[arg-type]
    body = io.BytesIO()
    image.save(body, "PNG")
    return body.getvalue()


@pytest.mark.parametrize(
    ("png", "code"),
    [
        pytest.param(picture("1", 1), "", id="one bit"),
        pytest.param(picture("L", 1), "mask.dark", id="0 and 1, as datumaro writes"),
        pytest.param(picture("L", 122), "mask.dark", id="the last grey that is dark"),
        pytest.param(picture("L", 123), "", id="the first that is not"),
        pytest.param(picture("L", 255), "", id="0 and 255"),
        pytest.param(picture("I;16", 256), "mask.dark", id="16 bits, low byte 0"),
        pytest.param(picture("RGB", (0, 0, 9)), "mask.not_binary", id="a colour"),
        pytest.param(picture("RGBA", (0, 9, 0, 9)), "mask.not_binary", id="a colour and alpha"),
        pytest.param(picture("LA", (1, 1)), "mask.not_binary", id="grey and alpha"),
        pytest.param(picture("P", 3), "mask.not_binary", id="a palette"),
    ],
)
def test_every_sample_that_is_not_nought_is_foreground(png: bytes, code: str) -> None:
    sink, report = good(archive(ALONE, {"masks/train/m.png": png}), TASK)
    assert shapes_of(sink).runs.row(0).tolist() == [0, 1, 2, 3, 2, 3]
    assert places(report.warnings) == ([(code, MASKS, 2, "MaskPath")] if code else [])


@pytest.mark.parametrize(
    ("png", "code", "drawn"),
    [
        (rectangle_png(16, 12, 4, 4, 8, 8), "mask.resized", ["........"] * 2 + ["..##...."] * 2 + ["........"] * 2),
        (pixels("#.", ".."), "mask.resized", ["####...."] * 3 + ["........"] * 3),
        (rectangle_png(4, 6, 0, 0, 1, 6), "mask.aspect", ["##......"] * 6),
    ],
)
def test_another_size_is_scaled_by_the_nearest_pixel(png: bytes, code: str, drawn: list[str]) -> None:
    sink, report = good(archive(ALONE, {"masks/train/m.png": png}), TASK)
    assert pixels_of(shapes_of(sink), 0) == drawn
    assert places(report.warnings) == [(code, MASKS, 2, "MaskPath")]
    assert (report.tables[MASKS].kept, report.tables[MASKS].changed) == (1, 1)
    assert bytes(sink.pack) == png


def test_a_mask_without_a_pixel_is_a_kept_row() -> None:
    empty = rectangle_png(8, 6, 0, 0, 0, 0)
    rows = ALONE + ALONE.replace("m.png", "ok.png")
    sink, report = good(archive(rows, {"masks/train/m.png": empty, "masks/train/ok.png": PNG}), TASK)
    found = sink.annotations()
    assert (len(found.shapes), len(found.rows)) == (1, 1)
    assert found.rows.kept.lines.to_texts() == [ALONE.strip()]
    offset, size = int(found.rows.kept.png_offsets[0]), int(found.rows.kept.png_sizes[0])
    assert bytes(sink.pack[offset : offset + size]) == empty
    assert places(report.warnings) == [("mask.empty", MASKS, 2, "MaskPath")]


def test_polygons_instead_of_masks() -> None:
    rows = ("########", "#......#", "#.####.#", "#......#", "####....", ".......#")
    sink, report = good(archive(LINKED, {"masks/train/m.png": pixels(*rows)}, BOX), TASK, conv_mask_to_poly=True)
    shapes = shapes_of(sink)
    polygons = np.flatnonzero(shapes.types == ShapeType.POLYGON)
    assert len(polygons) == 3
    assert shapes.groups.tolist() == [1, 1, 1, 1], "one group, the box among them"
    drawn = [pixels_of(shapes, int(row)) for row in polygons]
    union = [
        "".join(max(cells, key="#".count) for cells in zip(*lines, strict=True)) for lines in zip(*drawn, strict=True)
    ]
    assert union == list(rows)
    assert len(set(shapes.kept.png_offsets[polygons].tolist())) == 1
    assert set(shapes.kept.take(polygons).lines.to_texts()) == {LINKED.strip()}
    assert report.tables[MASKS].kept == 1


def test_an_unlinked_mask_of_one_part_has_no_group_as_polygon() -> None:
    sink, _ = good(archive(ALONE), TASK, conv_mask_to_poly=True)
    shapes = shapes_of(sink)
    assert (shapes.types.tolist(), shapes.groups.tolist()) == ([ShapeType.POLYGON], [0])
    assert shapes.points.row(0).tolist() == [1, 1, 6, 1, 6, 4, 1, 4]


def test_parts_of_an_unlinked_mask_have_a_group_of_their_own() -> None:
    png = pixels("#......#", "........", "........", "........", "........", "........")
    rows = ALONE + ALONE.replace("m.png", "n.png")
    files = {"masks/train/m.png": png, "masks/train/n.png": png}
    sink, _ = good(archive(rows, files), TASK, conv_mask_to_poly=True)
    assert shapes_of(sink).groups.tolist() == [1, 1, 2, 2]


def test_a_mask_too_complex_for_an_outline_stays_a_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    from app.formats.open_images import mask_work
    from app.geometry import Flips, ShapeTooComplex, flips_to_polygons

    def refuse(masks: list[Flips]) -> object:
        if any(len(mask) > 2 for mask in masks):
            raise ShapeTooComplex("too many corners")
        return flips_to_polygons(masks)

    monkeypatch.setattr(mask_work, "flips_to_polygons", refuse)
    rows = ALONE + ALONE.replace("m.png", "n.png")
    files = {"masks/train/m.png": PNG, "masks/train/n.png": rectangle_png(8, 6, 0, 0, 1, 1)}
    sink, report = good(archive(rows, files), TASK, conv_mask_to_poly=True)
    assert shapes_of(sink).types.tolist() == [ShapeType.MASK, ShapeType.POLYGON]
    assert places(report.warnings) == [("mask.too_complex", MASKS, 2, "MaskPath")]


def test_masks_nobody_names_are_kept() -> None:
    sink, report = good(archive(ALONE, {"masks/train/m.png": PNG, "masks/train/x.png": b"anything"}), TASK)
    assert places(report.warnings) == [("mask.unreferenced", "masks/train/x.png", None, None)]
    ((path, offset, size, _),) = sink.document["masks"]
    assert path == "masks/train/x.png"
    assert bytes(sink.pack[offset : offset + size]) == b"anything"


def test_rows_of_images_that_are_passed_over_need_no_png() -> None:
    rows = ALONE + ALONE.replace(",a,", ",zz,").replace("m.png", "gone.png")
    sink, report = good(archive(rows), TASK, unmatched="skip")
    assert len(shapes_of(sink)) == 1
    assert [p.code for p in report.warnings] == ["image.unmatched"]


def test_one_png_for_several_rows_is_kept_for_each_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    from app.formats.open_images import read_masks

    rows = ALONE + ALONE.replace(",0000", ",1111")
    sink, _ = good(archive(rows), TASK)
    assert len(set(shapes_of(sink).kept.png_offsets.tolist())) == 2
    monkeypatch.setattr(read_masks, "MAX_REPEATED_BYTES", 10)
    with pytest.raises(ImportProblems) as caught:
        imported(archive(rows), TASK)
    assert caught.value.code == "zip.too_big"


def test_many_masks_are_read_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    from app.formats.open_images import read_masks

    monkeypatch.setattr(read_masks, "BATCH_MASKS", 3)
    monkeypatch.setattr(read_masks, "BATCH_PROOFS", 3)
    monkeypatch.setattr(read_masks, "BATCH_BYTES", 2 * len(PNG))
    files = {f"masks/train/m{n}.png": rectangle_png(8, 6, n % 8, 0, n % 8 + 1, 1) for n in range(10)}
    rows = "".join(ALONE.replace("m.png", f"m{n}.png") for n in range(10))
    sink, _ = good(archive(rows, files), TASK)
    shapes = shapes_of(sink)
    assert [shapes.runs.row(row).tolist()[2] for row in range(10)] == [n % 8 for n in range(10)]
    assert len(sink.batches) >= 4


def test_masks_of_many_flips_are_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    from app.formats.open_images import mask_work

    monkeypatch.setattr(mask_work, "MAX_FLIPS", 5)
    monkeypatch.setattr(packed_masks, "MOST_BYTES", 0)  # those that stay packed have none
    files = {f"masks/train/m{n}.png": rectangle_png(8, 6, n % 8, 0, n % 8 + 1, 2) for n in range(10)}
    files |= {"masks/train/m4.png": b"no picture"}
    rows = "".join(ALONE.replace("m.png", f"m{n}.png") for n in range(10))
    sink, report = imported(archive(rows, files), TASK)
    assert places(report.errors) == [("mask.bad_png", MASKS, 6, "MaskPath")]
    assert sorted(shapes_of(sink).runs.row(row).tolist()[-4] for row in range(9)) == [0, 0, 1, 1, 2, 3, 5, 6, 7]
    assert (report.table(MASKS).kept, report.table(MASKS).dropped) == (9, 1)
    # Two masks of four flips each fill a part; lists of images and boxes come in none.
    assert sum(len(batch.shapes) > 0 for batch in sink.batches) == 5


def test_few_bytes_of_each_mask_are_held_while_others_are_written() -> None:
    def held(n_masks: int) -> tuple[int, int]:
        """When the first boxes are written, and when the first masks are."""
        seen: dict[str, int] = {}

        class Watching(MemorySink):
            def write(self, batch: Annotations) -> None:
                if len(batch.shapes):
                    what = "boxes" if (batch.shapes.types == ShapeType.RECTANGLE).all() else "masks"
                    seen.setdefault(what, tracemalloc.get_traced_memory()[0] - begin)

        names = [f"{number:064}.png" for number in range(n_masks)]
        boxes = [f"{k / n_masks:.6f},1,{k % 50 / 100:.6f},1" for k in range(n_masks)]
        rows = "".join(f"{name},a,cat,,{box},,\n" for name, box in zip(names, boxes, strict=True))
        members = archive(rows, {f"masks/train/{name}": PNG for name in names}, BOX)
        source, report = BytesSource(zip_of(members)), Report()
        begin = tracemalloc.get_traced_memory()[0]
        assert OPEN_IMAGES.read is not None
        OPEN_IMAGES.read(open_archive(source), TASK, ImportOptions(), Watching(), report, lambda done: None)
        assert not report.n_errors
        return seen["boxes"], seen["masks"]

    held(10)  # what is imported and remembered once
    tracemalloc.start()
    try:
        few, many = held(1_000), held(5_000)
    finally:
        tracemalloc.stop()
    per_mask = [(more - less) / 4_000 for less, more in zip(few, many, strict=True)]
    assert per_mask[0] < 400
    assert per_mask[1] < 700
