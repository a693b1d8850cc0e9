"""Random tables of points, relationships and machine labels beside boxes: every cell comes back, in any layout."""

from __future__ import annotations

import csv
import io
import random
from collections import Counter

import pytest

from tests.formats.builders import all_attributes, exported, good, labels, read_zip, target
from tests.formats.memory import MemorySource

NAMES = ("Cat", "Dog", 'a "quoted", name')
IDS = ("e88da03f2d80f1a1", "0000000000000002", "cats/x", "plain")
WHERE = target(
    {f"{name}.jpg": (640 + n, 480 - n) for n, name in enumerate(IDS)}, labels(*NAMES, attributes=all_attributes())
)
SUBSET_OF = dict(zip(IDS, ("train", "train", "validation", "test"), strict=True))
BOX = ("ImageID", "Source", "LabelName", "Confidence", "XMin", "XMax", "YMin", "YMax", "IsTruncated")
POINT = ("ImageId", "X", "Y", "Label", "EstimatedYesNo", "Source", "YesVotes", "NoVotes", "UnsureVotes", "TextLabel")
ENDS = tuple(f"{corner}{end}" for end in "12" for corner in ("XMin", "XMax", "YMin", "YMax"))
TAG = ("ImageID", "Source", "LabelName", "Confidence")


def number(random_: random.Random, low: float = 0.0, high: float = 1.0) -> str:
    value = low + random_.random() * (high - low)
    return random_.choice([f"{value:.6f}", f"{value:.2f}", repr(value), f"{value:.9f}"])


def table(random_: random.Random, columns: list[str], rows: list[dict[str, str]]) -> str:
    order = random_.sample(columns, len(columns)) if random_.random() < 0.5 else columns
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator=random_.choice(["\n", "\r\n"]), quoting=random_.choice([0, 0, 1]))
    writer.writerow(order)
    writer.writerows([row[name] for name in order] for row in rows)
    return out.getvalue()


def archive(random_: random.Random) -> dict[str, str | bytes]:
    members: dict[str, str | bytes] = {
        "class-descriptions.csv": table(random_, ["LabelName", "DisplayName"], [])
        + "".join(f'/m/{n},"{name.replace(chr(34), chr(34) * 2)}"\n' for n, name in enumerate(NAMES)),
        "notes.jsonl": '{"kept":1}\n',
        "open_images_test_captions.jsonl": f'{{"image_id":"{IDS[0]}","caption":"x"}}\n',
    }
    label_column = random_.choice(["Label", "LabelName"])
    relation_column = random_.choice(["RelationshipLabel", "RelationLabel"])
    more = random_.choice([[], ["Note"]])
    for subset in sorted(set(SUBSET_OF.values())):
        ids = [name for name in IDS if SUBSET_OF[name] == subset]
        boxes, points, pairs, tags = [], [], [], []
        for _ in range(random_.choice([0, 3, 12])):
            x, y = number(random_, 0, 0.4), number(random_, 0, 0.4)
            cells = (x, number(random_, 0.5), y, number(random_, 0.5))
            base = {"ImageID": random_.choice(ids), "LabelName": f"/m/{random_.randrange(3)}"}
            corners = dict(zip(("XMin", "XMax", "YMin", "YMax"), cells, strict=True))
            boxes.append({**base, **corners, "Source": "xclick", "Confidence": "1", "IsTruncated": "0"})
        for _ in range(random_.choice([0, 1, 15])):
            cells = [random_.choice(["", "0", "1", "2"]) for _ in range(3)]
            points.append(
                {
                    **dict(zip(("YesVotes", "NoVotes", "UnsureVotes"), cells, strict=True)),
                    "ImageId": random_.choice(ids),
                    "X": number(random_, -0.2, 1.2),
                    "Y": number(random_),
                    label_column: f"/m/{random_.randrange(3)}",
                    "EstimatedYesNo": random_.choice(["yes", "no", "unsure", ""]),
                    "Source": random_.choice(["ih", "cc", ""]),
                    "TextLabel": random_.choice(["", "a, b", 'q"q', "two\nlines"]),
                    "Note": random_.choice(["", "n"]),
                }
            )
        for _ in range(random_.choice([0, 2, 9])):
            one, two = (random_.choice(boxes) if boxes else None for _ in "12")
            row = {
                "ImageID": one["ImageID"] if one else ids[0],
                relation_column: random_.choice(["on", "is", "at, by"]),
            }
            for end, box in zip("12", (one, two), strict=True):
                row[f"LabelName{end}"] = box["LabelName"] if box else "/m/other"
                row |= {f"{c}{end}": box[c] if box else number(random_) for c in ("XMin", "XMax", "YMin", "YMax")}
            pairs.append({**row, "Note": "n"})
        for _ in range(random_.choice([0, 4])):
            row = {"ImageID": random_.choice(ids), "Source": "machine", "LabelName": f"/m/{random_.randrange(3)}"}
            tags.append({**row, "Confidence": random_.choice(["0.5", "0.60", "1", "0"])})
        members |= {
            f"oidv6-{subset}-annotations-bbox.csv": table(random_, list(BOX), boxes),
            f"oidv7-{subset}-annotations-point-labels.csv": table(
                random_, [*(label_column if c == "Label" else c for c in POINT), *more], points
            ),
            f"oidv6-{subset}-annotations-vrd.csv": table(
                random_, ["ImageID", "LabelName1", "LabelName2", *ENDS, relation_column, *more], pairs
            ),
            f"oidv7-{subset}-annotations-machine-imagelabels.csv": table(random_, list(TAG), tags),
        }
    return members


SAME = {"LabelName": "Label", "RelationLabel": "RelationshipLabel", "ImageId": "ImageID"}


def rows_of(members: dict[str, str | bytes], *words: str) -> Counter[tuple[tuple[str, str], ...]]:
    """Every row of the tables whose path holds one of the words, whatever the order of columns and rows."""
    found: Counter[tuple[tuple[str, str], ...]] = Counter()
    for path, data in members.items():
        if any(word in path for word in words):
            text = data if isinstance(data, str) else data.decode()
            for row in csv.DictReader(io.StringIO(text, newline="")):
                cells = {SAME.get(name, name): cell for name, cell in row.items() if cell}
                cells = {name: cell for name, cell in cells.items() if not (name.startswith("Is") and cell == "-1")}
                found[tuple(sorted(cells.items()))] += 1
    return found


@pytest.mark.parametrize("seed", range(12))
def test_every_cell_comes_back_in_any_layout(seed: int) -> None:
    members = archive(random.Random(seed))
    sink, report = good(members, WHERE, machine_labels="tags")
    assert report.counts.get("label.unknown") is None
    source = MemorySource.of_sink(sink, WHERE.frames)
    for layout in ("default", "official", "fiftyone"):
        data, told = exported(source, WHERE, layout=layout)
        written: dict[str, str | bytes] = dict(read_zip(data))
        assert "export.relationship_dropped" not in told.counts
        ids = "cats/x" if layout != "fiftyone" else "x"  # FiftyOne knows no folders
        expected = {name: str(text).replace("cats/x", ids) for name, text in members.items()}
        assert rows_of(written, "point-labels", "labels/points") == rows_of(expected, "point-labels"), layout
        assert rows_of(written, "-vrd", "relationships.csv") == rows_of(expected, "-vrd"), layout
        assert rows_of(written, "machine", "labels/classifications") == rows_of(expected, "machine"), layout
        assert rows_of(written, "-bbox", "detections") == rows_of(expected, "-bbox"), layout
        for name in ("notes.jsonl", "open_images_test_captions.jsonl"):
            assert written[name] == str(members[name]).encode()
        again, _ = good(written, WHERE, machine_labels="tags")
        second = read_zip(exported(MemorySource.of_sink(again, WHERE.frames), WHERE, layout=layout)[0])
        assert second == written, layout
