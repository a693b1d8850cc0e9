"""What an archive speaks of, against the same looked up line by line."""

from __future__ import annotations

import csv
import io
import random
from pathlib import Path

import pytest

from app.archive import BytesSource, open_archive
from app.check import read_frames
from app.errors import InvalidInput
from app.formats import ImportOptions
from app.formats.open_images.survey import survey
from tests.formats.builders import zip_of

BOXES = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"


@pytest.mark.parametrize("few", [0, 3, 1 << 16])
def test_images_come_once_in_the_order_of_sizes_and_of_first_mention(monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    monkeypatch.setitem(survey.__globals__, "FEW_NAMES", few)
    chance = random.Random(few)
    names = [*(f"{number:016x}" for number in range(40)), "folder/ä b", "x" * 600, ""]
    boxes = "".join(f"{chance.choice(names)},xclick,/m/{chance.randrange(3)},1,0,1,0,1,0,0,0,0,0\n" for _ in range(300))
    tags = "".join(f"{chance.choice(names)},verification,cat,1\n" for _ in range(100))
    sizes = [
        (chance.choice([*names[:40], "nobody"]), chance.randint(1, 999), chance.randint(1, 999)) for _ in range(60)
    ]
    data = zip_of(
        {
            "validation-annotations-bbox.csv": f"{BOXES}\n{boxes}".encode(),
            "validation-annotations-human-imagelabels.csv": f"ImageID,Source,LabelName,Confidence\n{tags}".encode(),
            "images.meta": "".join(f"{name} {height} {width}\n" for name, height, width in sizes).encode(),
        }
    )
    found = survey(open_archive(BytesSource(data)), ImportOptions())

    rows = [row for text in (boxes, tags) for row in csv.reader(io.StringIO(text))]
    expected = {row[0]: (0, 0) for row in rows if row[0]}
    expected |= {name: (width, height) for name, height, width in sizes if name in expected}
    told = zip(found.images.to_texts(), zip(found.widths.tolist(), found.heights.tolist(), strict=True), strict=True)
    order = [*dict.fromkeys(name for name, _, _ in sizes if name in expected), *expected]
    assert list(told) == [(name, expected[name]) for name in dict.fromkeys(order)]
    assert found.labels == list(dict.fromkeys(row[2] for row in rows))


@pytest.mark.parametrize(
    ("listed", "told", "images"),
    [
        ("a b", "a.jpg b", {"a.jpg": 7, "b": 7}),
        ("a.jpg b", "b a", {"a.jpg": 7, "b": 7}),
        ("a b", "a.jpg a.png", {"a": 0, "b": 0, "a.jpg": 7, "a.png": 7}),  # of which it is nobody can say
        ("a a.jpg", "a a.jpg", {"a": 7, "a.jpg": 7}),  # of `a.png` and `a.jpg.png`
        ("a", "a.v2 x/a.jpg", {"a": 0, "a.v2": 7, "x/a.jpg": 7}),
        ("", "a a.jpg", {"a": 7, "a.jpg": 7}),
    ],
)
def test_an_image_is_known_with_and_without_its_extension(listed: str, told: str, images: dict[str, int]) -> None:
    members: dict[str, str | bytes] = {
        "train-annotations-bbox.csv": f"{BOXES}\n"
        + "".join(f"{name},xclick,/m/c,1,0,1,0,1,0,0,0,0,0\n" for name in told.split()),
        "images.meta": "".join(f"{name} 5 7\n" for name in told.split()),
    }
    if listed:
        members["train-images.csv"] = "ImageID,Subset\n" + "".join(f"{name},train\n" for name in listed.split())
    found = survey(open_archive(BytesSource(zip_of(members))), ImportOptions())
    assert dict(zip(found.images.to_texts(), found.widths.tolist(), strict=True)) == images


def test_a_list_of_frames_tells_each_name_once(tmp_path: Path) -> None:
    path = tmp_path / "frames.txt"
    path.write_text("a b.jpg 8 6\n\nc.jpg\n", encoding="utf-8-sig")
    frames = read_frames(path, 7)
    assert frames.names.to_texts() == ["a b.jpg", "c.jpg"]
    assert (frames.widths.tolist(), frames.heights.tolist()) == ([8, 7], [6, 7])
    path.write_text("a.jpg\nb.jpg\na.jpg 3 4\n")
    with pytest.raises(InvalidInput, match=r'frames.txt:3: "a.jpg" is there twice'):
        read_frames(path)
