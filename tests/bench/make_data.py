"""Makes an Open Images archive of any size with the statistics of the published splits.

Ids of 16 hexadecimal digits, 600 classes in a hierarchy, long tails of boxes per image and of classes, six-decimal
coordinates, two thirds of the tags positive, 1-bit masks of about 2.6 kB with holes and occluders, each linked to a
box: of all filters, as Pillow writes them, or (`--peer-masks`) of 8 bits, 0 and 1, as datumaro does. Box tables of the
train split have 21 columns (`--clicks`) and no list of images here. The same seed gives the same bytes.

Beside OUT.zip it writes
    OUT.frames.txt      name width height of each picture, one a line
    OUT.labels.json     the labels of a task for it, with the attributes CVAT's manual lists
    OUT.pictures.zip    a real picture for each frame (of up to 50,000): 1-bit, of full size, about a hundred bytes
"""

from __future__ import annotations

import argparse
import io
import json
import struct
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

CLASSES = 600
SUBSET = "validation"
SIZES = ((1024, 768), (768, 1024), (1024, 683), (683, 1024), (1024, 681), (1024, 576), (1024, 1024), (800, 600))
SIZE_SHARES = (0.42, 0.14, 0.18, 0.07, 0.08, 0.06, 0.02, 0.03)
FLAG_SHARES = (0.5, 0.25, 0.06, 0.05, 0.002)
"""How often a box is occluded, truncated, of a group, a depiction, seen from inside."""
OUTLINE_POINTS = 434
FIXED_DATE = (2020, 1, 1, 0, 0, 0)

IMAGE_HEADER = (
    "ImageID,Subset,OriginalURL,OriginalLandingURL,License,AuthorProfileURL,Author,Title,OriginalSize,OriginalMD5,"
    "Thumbnail300KURL,Rotation\n"
)
BOX_HEADER = (
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n"
)
CLICK_HEADER = "".join(f",XClick{point}{axis}" for axis in "XY" for point in range(1, 5))
TAG_HEADER = "ImageID,Source,LabelName,Confidence\n"
MASK_HEADER = "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks\n"

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Counts:
    """How much of everything.

    Attributes:
        has_clicks: box tables have the 21 columns of the train split, and there is no list of images.
        peer_masks: PNGs of 8 bits, as datumaro writes them, instead of 1 bit.
    """

    images: int
    boxes: int
    tags: int
    masks: int
    has_clicks: bool = False
    peer_masks: bool = False


SPLITS = {
    "1k": Counts(1_000, 7_304, 14_304, 594),
    "10k": Counts(10_000, 73_038, 143_042, 5_942),
    "validation": Counts(41_620, 303_980, 595_339, 24_730),
    "tenth": Counts(174_304, 1_461_022, 0, 0, has_clicks=True),
    "train": Counts(1_743_042, 14_610_229, 0, 0, has_clicks=True),
}
"""By the name of the size; a tenth and all of the train split are boxes only."""
ROWS_AT_ONCE = 100_000
PICTURES_UP_TO = 50_000
"""No pictures are made beyond: the bench then gives the task its frames by the store's own call (see `run`)."""


@dataclass(frozen=True)
class Files:
    """What was made."""

    archive: Path
    frames: Path
    labels: Path
    pictures: Path


def files_of(archive: Path) -> Files:
    stem = archive.with_suffix("")
    return Files(archive, Path(f"{stem}.frames.txt"), Path(f"{stem}.labels.json"), Path(f"{stem}.pictures.zip"))


def long_tail(random: np.random.Generator, total: int, places: int, spread: float) -> Ints:
    """`total` things over `places`, a few of which get many: the place of each thing, ascending, (total,)."""
    weights = random.lognormal(0.0, spread, places)
    counts = random.multinomial(total, weights / weights.sum())
    return np.repeat(np.arange(places), counts)


def class_names() -> list[tuple[str, str]]:
    """MIDs and display names; some of the names need quoting."""
    names = [(f"/m/0{np.base_repr(10007 + 7919 * index, 36).lower()}", f"Thing {index}") for index in range(CLASSES)]
    names[17] = (names[17][0], 'Fiat 500 "topolino"')
    names[23] = (names[23][0], "Salt, pepper")
    return names


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in '",\n') else text


def hierarchy(names: list[tuple[str, str]]) -> bytes:
    """A virtual root, 25 parents, the other classes below them."""
    parents = [{"LabelName": mid, "Subcategory": []} for mid, _ in names[:25]]
    for index, (mid, _) in enumerate(names[25:]):
        parents[index % 25]["Subcategory"].append({"LabelName": mid})  # type: ignore[attr-defined]
    return json.dumps({"LabelName": "/m/0bl9f", "Subcategory": parents}).encode()


def labels_json(names: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """A task's labels: display names, with the attributes of CVAT's manual."""
    flags = ("occluded", "truncated", "is_group_of", "is_depiction", "is_inside")
    checkboxes = [{"name": name, "mutable": False, "input_type": "checkbox", "values": ["false"]} for name in flags]
    texts = [
        {"name": name, "mutable": False, "input_type": "text", "values": [""]}
        for name in ("score", "box_id", "predicted_iou")
    ]
    return [{"name": name, "attributes": [*checkboxes, *texts]} for _, name in names]


def blocks(lines: Iterable[str], at_once: int = 20_000) -> Iterator[bytes]:
    held: list[str] = []
    for line in lines:
        held.append(line)
        if len(held) == at_once:
            yield "".join(held).encode()
            held.clear()
    yield "".join(held).encode()


def mask_png(
    random: np.random.Generator, size: tuple[int, int], box: npt.NDArray[np.float64], as_peer: bool = False
) -> bytes:
    """A rough blob within a normalised box (x0 x1 y0 y1), mostly with a hole, sometimes cut by an occluder."""
    width, height = size
    x0, x1, y0, y1 = box * (width, width, height, height)
    angles = np.linspace(0, 2 * np.pi, OUTLINE_POINTS, endpoint=False)
    waves = random.normal(0, 0.06, 6)[:, None] * np.cos(
        np.arange(2, 8)[:, None] * angles + random.uniform(0, 6.28, 6)[:, None]
    )
    radius = np.clip(0.85 + waves.sum(axis=0) + random.normal(0, 0.005, OUTLINE_POINTS), 0.2, 1.0)
    outline = np.stack(
        [
            (x0 + x1) / 2 + (x1 - x0) / 2 * radius * np.cos(angles),
            (y0 + y1) / 2 + (y1 - y0) / 2 * radius * np.sin(angles),
        ],
        axis=1,
    )
    image = Image.new("1", size)
    draw = ImageDraw.Draw(image)
    draw.polygon(outline.ravel().tolist(), fill=1)
    if random.random() < 0.6:
        hole = (outline - outline.mean(axis=0)) * random.uniform(0.1, 0.35) + outline.mean(axis=0)
        draw.polygon(hole.ravel().tolist(), fill=0)
    if random.random() < 0.3:
        left = random.uniform(x0, x1)
        draw.rectangle((left, y0, left + (x1 - x0) / 12, y1), fill=0)
    if as_peer:
        return peer_png(np.asarray(image).astype(np.uint8))
    body = io.BytesIO()
    image.save(body, "PNG")
    return body.getvalue()


def peer_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """8 bits a pixel, every row with filter Sub, runs only: what OpenCV makes of datumaro's 0 and 1."""
    raw = np.zeros((pixels.shape[0], pixels.shape[1] + 1), dtype=np.uint8)
    raw[:, 0] = 1
    raw[:, 1] = pixels[:, 0]
    raw[:, 2:] = pixels[:, 1:] - pixels[:, :-1]
    engine = zlib.compressobj(1, zlib.DEFLATED, 15, 9, zlib.Z_RLE)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", engine.compress(raw.tobytes()) + engine.flush()), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def picture_png(size: tuple[int, int]) -> bytes:
    body = io.BytesIO()
    Image.new("1", size).save(body, "PNG", compress_level=9)
    return body.getvalue()


def make(archive: Path, counts: Counts, seed: int) -> Files:
    """Write the four files."""
    random = np.random.default_rng(seed)
    files = files_of(archive)
    names = class_names()
    mids = [mid for mid, _ in names]

    numbers = np.sort(random.choice(np.iinfo(np.int64).max, counts.images, replace=False).astype(np.uint64))
    ids = [f"{number:016x}" for number in numbers.tolist()]
    sizes = [SIZES[index] for index in random.choice(len(SIZES), counts.images, p=SIZE_SHARES).tolist()]

    label_weights = 1.0 / np.arange(1, CLASSES + 1) ** 1.05
    label_weights /= label_weights.sum()
    box_images = long_tail(random, counts.boxes, counts.images, 1.0)
    box_labels = random.choice(CLASSES, counts.boxes, p=label_weights)
    spans = np.clip(random.beta(0.9, 2.2, (counts.boxes, 2)), 0.02, 1.0)  # widths and heights
    starts = random.random((counts.boxes, 2)) * (1 - spans)
    corners = np.round(
        np.stack([starts[:, 0], starts[:, 0] + spans[:, 0], starts[:, 1], starts[:, 1] + spans[:, 1]], 1), 6
    )
    sources = random.choice(3, counts.boxes, p=(0.9, 0.07, 0.03))
    flags = (random.random((counts.boxes, 5)) < FLAG_SHARES).astype(np.int8)
    flags[sources == 1] = -1  # boxes that a machine proposed say nothing
    source_names = ("xclick", "activemil", "freeform")

    def box_lines() -> Iterator[str]:
        for start in range(0, counts.boxes, ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            columns = (box_images[part], sources[part], box_labels[part], corners[part], flags[part])
            clicks = random.random((len(box_images[part]), 8)).tolist() if counts.has_clicks else None
            rows = zip(*(column.tolist() for column in columns), strict=True)
            for at, (image, source, label, (x0, x1, y0, y1), (f0, f1, f2, f3, f4)) in enumerate(rows):
                # Boxes that were not drawn by extreme clicking have no clicks.
                more = "" if clicks is None else ("," + ",".join(["-1.000000"] * 8))
                if clicks is not None and source == 0:
                    a, b, c, d, e, f, g, h = clicks[at]
                    more = f",{a:.6f},{b:.6f},{c:.6f},{d:.6f},{e:.6f},{f:.6f},{g:.6f},{h:.6f}"
                yield (
                    f"{ids[image]},{source_names[source]},{mids[label]},1,{x0:.6f},{x1:.6f},{y0:.6f},{y1:.6f},"
                    f"{f0},{f1},{f2},{f3},{f4}{more}\n"
                )

    tag_images = long_tail(random, counts.tags, counts.images, 0.7)
    tag_labels = random.choice(CLASSES, counts.tags, p=label_weights)
    tag_yes = random.random(counts.tags) < 0.617
    tag_crowd = random.random(counts.tags) < 0.4

    def tag_lines() -> Iterator[str]:
        rows = zip(tag_images.tolist(), tag_labels.tolist(), tag_yes.tolist(), tag_crowd.tolist(), strict=True)
        for image, label, yes, crowd in rows:
            source = "crowdsource-verification" if crowd else "verification"
            yield f"{ids[image]},{source},{mids[label]},{int(yes)}\n"

    def image_lines() -> Iterator[str]:
        for index, image in enumerate(ids):
            title = 'Sunday, "at home"' if index % 11 == 0 else f"IMG_{index}"
            yield (
                f"{image},{SUBSET},https://farm{index % 9}.staticflickr.com/{index % 977}/{index}_o.jpg,"
                f"https://www.flickr.com/photos/someone/{index},https://creativecommons.org/licenses/by/2.0/,"
                f"https://www.flickr.com/people/someone{index % 5003}/,Someone {index % 5003},{quoted(title)},"
                f"{index * 37 % 4000000},{image[:22]}==,,{'0.0' if index % 3 else ''}\n"
            )

    # People outline what is large: a box's chance grows with the square of its area, 0.2 megapixels then in the median.
    chances = spans.prod(axis=1) ** 2
    masked: Ints = np.zeros(0, dtype=np.int64)
    if counts.masks:
        masked = np.sort(random.choice(counts.boxes, counts.masks, replace=False, p=chances / chances.sum()))
    mask_rows: list[str] = []

    def masks() -> Iterator[tuple[str, bytes]]:
        for order, box in enumerate(masked.tolist()):
            image, label = int(box_images[box]), mids[int(box_labels[box])]
            png = mask_png(random, sizes[image], corners[box], counts.peer_masks)
            box_id = f"{int(random.integers(1 << 32)):08x}"
            name = f"{ids[image]}_{label.replace('/', '')}_{box_id}.png"
            x0, x1, y0, y1 = corners[box].tolist()
            clicks = f"{x0:.5f} {y0:.5f} 1;{x1:.5f} {y1:.5f} 0" if order % 2 else ""
            mask_rows.append(
                f"{name},{ids[image]},{label},{box_id},{x0:.6f},{x1:.6f},{y0:.6f},{y1:.6f},"
                f"{random.random():.5f},{clicks}\n"
            )
            yield name, png

    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as target:

        def add(name: str, lines: Iterable[bytes]) -> None:
            entry = zipfile.ZipInfo(f"annotations/{name}", FIXED_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            with target.open(entry, "w", force_zip64=True) as sink:
                for block in lines:
                    sink.write(block)

        add("class-descriptions.csv", blocks(f"{mid},{quoted(name)}\n" for mid, name in names))
        add("bbox_labels_600_hierarchy.json", [hierarchy(names)])
        add("images.meta", blocks(f"{image} {high} {wide}\n" for image, (wide, high) in zip(ids, sizes, strict=True)))
        if not counts.has_clicks:
            add(f"{SUBSET}-images-with-rotation.csv", chain([IMAGE_HEADER.encode()], blocks(image_lines())))
        box_header = BOX_HEADER.replace("\n", f"{CLICK_HEADER}\n") if counts.has_clicks else BOX_HEADER
        add(f"{SUBSET}-annotations-bbox.csv", chain([box_header.encode()], blocks(box_lines())))
        if counts.tags:
            add(f"{SUBSET}-annotations-human-imagelabels.csv", chain([TAG_HEADER.encode()], blocks(tag_lines())))
        for name, png in masks():
            target.writestr(zipfile.ZipInfo(f"masks/{SUBSET}/{name}", FIXED_DATE), png)
        if mask_rows:
            add(f"{SUBSET}-annotations-object-segmentation.csv", [MASK_HEADER.encode(), *blocks(mask_rows)])

    files.frames.write_text(
        "".join(f"{image}.png {wide} {high}\n" for image, (wide, high) in zip(ids, sizes, strict=True))
    )
    files.labels.write_text(json.dumps(labels_json(names)))
    if counts.images > PICTURES_UP_TO:
        files.pictures.unlink(missing_ok=True)
        return files
    drawn = {size: picture_png(size) for size in SIZES}
    with zipfile.ZipFile(files.pictures, "w") as pictures:
        for image, size in zip(ids, sizes, strict=True):
            pictures.writestr(zipfile.ZipInfo(f"{image}.png", FIXED_DATE), drawn[size])
    return files


def add_count_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--size", choices=SPLITS, default="validation", help="the counts of a split (%(default)s)")
    for name in ("images", "boxes", "tags", "masks"):
        parser.add_argument(f"--{name}", type=int, default=None, help=f"another number of {name}")
    parser.add_argument("--clicks", action="store_true", default=None, help="box tables of 21 columns, no image list")
    parser.add_argument("--peer-masks", action="store_true", default=None, help="masks of 8 bits, as datumaro writes")
    parser.add_argument("--seed", type=int, default=1, help="another seed gives other data (%(default)s)")


def counts_given(given: argparse.Namespace) -> Counts:
    """The split's counts, with what was given apart."""
    changes = {name: getattr(given, name) for name in ("images", "boxes", "tags", "masks", "peer_masks")}
    changes["has_clicks"] = given.clicks
    return replace(SPLITS[given.size], **{name: value for name, value in changes.items() if value is not None})


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Make an Open Images archive with the statistics of a published split."
    )
    add_count_options(parser)
    parser.add_argument("out", type=Path, help="the archive; its companions are written beside it")
    given = parser.parse_args()
    start = time.perf_counter()
    files = make(given.out, counts_given(given), given.seed)
    for path in (files.archive, files.frames, files.labels, files.pictures):
        if path.is_file():
            print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
    print(f"made in {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
