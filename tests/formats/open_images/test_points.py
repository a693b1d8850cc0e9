"""Point labels: rows to points and back, under edits, beside the plain twin, and as shapes of several points."""

from __future__ import annotations

import csv
import io
import json
import random
from typing import Any

import numpy as np
import pytest

from app.annotations import Annotations, AttributeSpec, Edit, Label, LabelCatalog, Shapes, ShapeType, Tracks
from app.columns import Ragged, Texts
from app.storage.edits import continue_rows
from tests import reference_formats as reference
from tests.formats.builders import attribute_values, exported, good, imported, places, read_zip, target
from tests.formats.memory import MemorySink, MemorySource, edited
from tests.formats.open_images.parts import CLASSES, LIST, LIST_HEADER

POINTS = "annotations/train-annotations-point-labels.csv"
HEADER = "ImageId,X,Y,Label,EstimatedYesNo,Source,YesVotes,NoVotes,UnsureVotes,TextLabel\n"
NAMES = ("estimated_yes_no", "source", "yes_votes", "no_votes", "unsure_votes", "text_label")


def specs(first: int, **kinds: str) -> tuple[AttributeSpec, ...]:
    return tuple(
        AttributeSpec(first + n, name, False, kinds.get(name, "text"), "", ("yes", "no", "unsure"))
        for n, name in enumerate(NAMES)
    )


CAT, DOG, PLAIN = 1, 2, 3
LABELS = LabelCatalog(
    (
        Label(CAT, "Cat", "", "any", specs(100)),
        Label(DOG, "Dog", "", "points", specs(200, yes_votes="number", estimated_yes_no="radio")),
        Label(PLAIN, "Plain", "", "any"),
    )
)
TASK = target({"a.jpg": (8, 4), "b.jpg": (10, 10)}, LABELS, subset="train")
CLASS_ROWS = "/m/c,Cat\n/m/d,Dog\n/m/p,Plain\n"
ROW = "a,0.250,0.5,/m/c,yes,ih,3,,1,"
ARCHIVE: dict[str, str | bytes] = {
    CLASSES: CLASS_ROWS,
    LIST: LIST_HEADER + "a,train,,,,,,,,,,\nb,train,,,,,,,,,,\n",
    POINTS: HEADER.strip() + f",Note\n{ROW},kept\nb,1.0,0,/m/p,no,cc,0,2,0,a text,\n",
}


@pytest.fixture(scope="module")
def sink() -> MemorySink:
    return good(ARCHIVE, TASK)[0]


def export(sink: MemorySink, shapes: Shapes, **options: Any) -> dict[str, bytes]:
    found = Annotations(shapes=shapes, images=sink.annotations().images)
    return read_zip(exported(MemorySource.of_sink(sink, TASK.frames, found), TASK, **options)[0])


def lines(members: dict[str, bytes]) -> list[str]:
    return members[POINTS].decode().splitlines()[1:] if POINTS in members else []


def point(label: int = PLAIN, at: tuple[float, ...] = (2, 1), attributes: str = "[]") -> Shapes:
    return Shapes.empty(1).replace(
        types=np.array([ShapeType.POINTS], dtype=np.uint8),
        label_ids=np.array([label], dtype=np.int32),
        points=Ragged.from_arrays([list(at)], np.float64),
        attributes=Texts.from_list([attributes]),
    )


def test_a_row_is_a_point_with_its_votes(sink: MemorySink) -> None:
    shapes = sink.annotations().shapes
    assert shapes.types.tolist() == [ShapeType.POINTS] * 2
    assert [shapes.points.row(n).tolist() for n in range(2)] == [[2, 2], [10, 0]]
    values = {"estimated_yes_no": "yes", "source": "ih", "yes_votes": "3", "unsure_votes": "1"}
    assert attribute_values(TASK, CAT, shapes.attributes.row(0)) == values
    assert shapes.attributes.row(1) == "[]"


def test_votes_become_what_the_attribute_can_be() -> None:
    rows = "a,0,0,/m/d,no,ih,07,1,0,\na,0,0,/m/d,perhaps,ih,many,1,0,\n"
    found, report = good({CLASSES: CLASS_ROWS, POINTS: HEADER + rows}, TASK)
    shapes = found.annotations().shapes
    told = [attribute_values(TASK, DOG, shapes.attributes.row(n)) for n in range(2)]
    assert (told[0]["yes_votes"], told[0]["estimated_yes_no"]) == ("7", "no")
    assert not {"yes_votes", "estimated_yes_no"} & set(told[1])
    assert report.counts == {"attribute.no_value": 2}


@pytest.mark.parametrize(
    ("row", "column", "code"),
    [
        ("a,x,0,/m/c,,,,,,", "X", "value.not_number"),
        ("a,nan,0,/m/c,,,,,,", "X", "value.not_finite"),
        ("a,0,,/m/c,,,,,,", "Y", "value.missing"),
        ("a,0,300,/m/c,,,,,,", "Y", "value.range"),
        ("a,0,0,,,,,,,", "Label", "value.missing"),
        ("a,0,0,/m/zebra,,,,,,", "Label", "label.unknown"),
        ("zz,0,0,/m/c,,,,,,", "ImageId", "image.unmatched"),
        (",0,0,/m/c,,,,,,", "ImageId", "value.missing"),
    ],
)
def test_what_is_refused_is_named(row: str, column: str, code: str) -> None:
    _, report = imported({CLASSES: CLASS_ROWS, POINTS: HEADER + row + "\n"}, TASK)
    assert places(report.errors) == [(code, POINTS, 2, column)]


def test_points_outside_and_repeated_rows_are_told_and_kept() -> None:
    found, report = good({CLASSES: CLASS_ROWS, POINTS: HEADER + "a,1.5,-0.5,/m/c,,,,,,\n" * 2}, TASK)
    assert report.counts == {"point.outside": 2, "row.duplicate": 1}
    assert found.annotations().shapes.points.row(0).tolist() == [12, -2]


def test_another_name_of_the_label_column_stays() -> None:
    table = "imageid,LabelName,Y,X\na,/m/c,0.5,0.250\n"
    found, _ = good({CLASSES: CLASS_ROWS, POINTS: table}, TASK)
    written = export(found, found.annotations().shapes)[POINTS].decode()
    assert written == HEADER.replace("Label,", "LabelName,", 1) + "a,0.250,0.5,/m/c,,,,,,\n"


def test_nothing_edited_comes_back_to_the_letter(sink: MemorySink) -> None:
    members = export(sink, sink.annotations().shapes)
    assert members[POINTS].decode() == ARCHIVE[POINTS]
    assert "annotations/oid_extra.json" not in members


def edit(sink: MemorySink, flags: Edit, **values: Any) -> str:
    return lines(export(sink, edited(sink.annotations().shapes, 0, flags, **values), side_file=False))[0]


def test_each_edit_changes_its_cells_only(sink: MemorySink) -> None:
    assert edit(sink, Edit.GEOMETRY, points=[4, 1]) == ROW.replace("0.250,0.5", "0.5,0.25") + ",kept"
    assert edit(sink, Edit.LABEL, label_ids=PLAIN) == ROW.replace("/m/c", "/m/p") + ",kept"
    values = {100: "no", 101: "ih", 102: "3", 104: "1", 105: "a, b"}
    text = json.dumps([{"spec_id": spec, "value": value} for spec, value in values.items()])
    assert edit(sink, Edit.ATTRIBUTES, attributes=text) == ROW.replace("yes", "no") + '"a, b",kept'
    left = sink.annotations().shapes.take(np.array([1]))
    assert lines(export(sink, left)) == ["b,1.0,0,/m/p,no,cc,0,2,0,a text,"]


@pytest.mark.parametrize(
    ("value", "cell", "is_told"),
    [("5", "5", False), ("3.0", "3", False), ("many", "3", True), ("-1", "3", True), ("", "3", False)],
)
def test_votes_that_no_reader_takes_are_told_and_not_written(
    sink: MemorySink, value: str, cell: str, is_told: bool
) -> None:
    text = json.dumps([{"spec_id": 102, "value": value}])
    shapes = edited(sink.annotations().shapes, 0, Edit.ATTRIBUTES, attributes=text)
    data, report = exported(MemorySource.of_sink(sink, TASK.frames, Annotations(shapes=shapes)), TASK, side_file=False)
    assert lines(read_zip(data))[0].split(",")[6] == cell
    assert bool(report.counts.get("export.bad_attribute")) == is_told


def test_a_drawn_point_says_yes_unless_its_attributes_say_otherwise() -> None:
    text = json.dumps([{"spec_id": 100, "value": "Unsure"}, {"spec_id": 103, "value": "2"}])
    odd = json.dumps([{"spec_id": 100, "value": "perhaps"}])
    shapes = Shapes.concatenate([point(), point(CAT, attributes=text), point(CAT, attributes=odd)])
    data, report = exported(MemorySource(Annotations(shapes=shapes), TASK.frames), TASK)
    expected = ["a,0.25,0.25,Plain,yes,,1,0,0,", "a,0.25,0.25,Cat,unsure,,1,2,0,", "a,0.25,0.25,Cat,yes,,1,0,0,"]
    assert lines(read_zip(data)) == expected
    assert report.counts == {"export.bad_attribute": 1}


def test_names_in_place_of_ids(sink: MemorySink) -> None:
    members = export(sink, sink.annotations().shapes, label_ids="name")
    assert [line.split(",")[3] for line in lines(members)] == ["Cat", "Plain"]


def test_tables_of_other_layouts(sink: MemorySink) -> None:
    shapes = sink.annotations().shapes
    assert "oidv7-train-annotations-point-labels.csv" in export(sink, shapes, layout="official")
    members = export(sink, shapes, layout="fiftyone")
    assert members["labels/points.csv"].decode().splitlines()[0].startswith(HEADER.strip())
    again = good(dict(members), TASK)[0].annotations().shapes
    assert [again.points.row(n).tolist() for n in range(2)] == [[2, 2], [10, 0]]


# --- shapes of several points ---


def reread(members: dict[str, bytes]) -> tuple[Shapes, dict[str, int]]:
    found, report = good(dict(members), TASK)
    return found.annotations().shapes, report.counts


def test_each_point_is_a_row_and_the_side_file_joins_them() -> None:
    shapes = Shapes.concatenate([point(at=(1, 1, 2, 2, 3, 3)), point(at=(4, 2)), point(at=(5, 2, 6, 2))])
    members = read_zip(exported(MemorySource(Annotations(shapes=shapes), TASK.frames), TASK)[0])
    assert [line.split(",")[1] for line in lines(members)] == ["0.125", "0.25", "0.375", "0.5", "0.625", "0.75"]
    found, counts = reread(members)
    assert sorted(found.points.row(n).tolist() for n in range(3)) == [[1, 1, 2, 2, 3, 3], [4, 2], [5, 2, 6, 2]]
    assert "extra.ignored" not in counts
    alone, _ = reread({name: data for name, data in members.items() if "extra" not in name})
    assert len(alone) == 6


@pytest.mark.parametrize("change", ["moved", "gone", "voted"])
def test_rows_that_were_changed_stand_for_themselves(change: str) -> None:
    shapes = Shapes.concatenate([point(at=(1, 1, 2, 2)), point(at=(5, 2, 6, 2))])
    members = read_zip(exported(MemorySource(Annotations(shapes=shapes), TASK.frames), TASK)[0])
    header, *rows = members[POINTS].decode().splitlines()
    rows[3] = {"moved": rows[3].replace("0.75", "0.8"), "gone": "", "voted": rows[3].replace("yes", "no")}[change]
    members[POINTS] = "\n".join([header, *filter(None, rows)]).encode()
    found, counts = reread(members)
    assert [1, 1, 2, 2] in [found.points.row(n).tolist() for n in range(len(found))]
    assert len(found) == (2 if change == "gone" else 3)
    assert counts["extra.ignored"] >= 1


def test_a_second_point_keeps_the_cells_of_the_first(sink: MemorySink) -> None:
    grown = edited(sink.annotations().shapes, 0, Edit.GEOMETRY, points=[2, 2, 4, 1])
    members = export(sink, grown)
    assert lines(members)[:2] == ["a,0.25,0.5,/m/c,yes,ih,3,,1,,kept", "a,0.5,0.25,/m/c,yes,ih,3,0,1,,"]
    again, _ = good(dict(members), TASK)
    shapes = again.annotations().shapes
    assert sorted(map(tuple, (shapes.points.row(n).tolist() for n in range(2)))) == [(2, 2, 4, 1), (10, 0)]
    assert lines(export(again, shapes)) == lines(members)


def test_tracks_of_points_come_back() -> None:
    keys = [
        {
            "frame": frame,
            "type": "points",
            "points": [1.0 + frame, 1.0, 2.0, 2.0],
            "outside": False,
            "occluded": False,
            "z_order": 0,
            "rotation": 0.0,
            "attributes": [],
        }
        for frame in (0, 1)
    ]
    body = json.dumps({"shapes": keys, "elements": []}).encode()
    tracks = Tracks.empty(1).replace(label_ids=np.array([PLAIN], dtype=np.int32), bodies=Ragged.from_bytes([body]))
    members = read_zip(exported(MemorySource(Annotations(tracks=tracks), TASK.frames), TASK)[0])
    assert len(lines(members)) == 4
    found = good(dict(members), TASK)[0].annotations()
    assert (len(found.shapes), len(found.tracks)) == (0, 1)
    assert json.loads(found.tracks.bodies.row_bytes(0)) == json.loads(body)


# --- beside the plain twin ---


def some_attributes(random_: random.Random, label: int) -> str:
    first = {CAT: 100, DOG: 200}.get(label)
    chosen = [n for n in range(len(NAMES)) if random_.random() < 0.4] if first is not None else []
    choices = (("yes", "no", "unsure"), ("ih", "cc", ""), *((str(n) for n in range(4)),) * 3, ("", "a text", "x,y"))
    pools = [tuple(pool) for pool in choices]
    pools[2] = pools[3] = pools[4] = ("0", "1", "2", "")
    items = [{"spec_id": (first or 0) + n, "value": random_.choice(pools[n])} for n in chosen]
    return json.dumps(items, separators=(",", ":"))


def some_points(random_: random.Random, n: int) -> Shapes:
    label_ids = [random_.choice([CAT, DOG, PLAIN]) for _ in range(n)]
    numbers = [[round(random_.random() * 8, 2) for _ in range(2 * random_.choice([1, 1, 1, 3]))] for _ in range(n)]
    return Shapes.empty(n).replace(
        frames=np.sort(np.array([random_.randrange(2) for _ in range(n)], dtype=np.int32)),
        types=np.full(n, ShapeType.POINTS, dtype=np.uint8),
        label_ids=np.array(label_ids, dtype=np.int32),
        attributes=Texts.from_list([some_attributes(random_, label) for label in label_ids]),
        points=Ragged.from_arrays(numbers, np.float64),
    )


@pytest.mark.parametrize("batch_frames", [1, 2])
@pytest.mark.parametrize("seed", range(10))
def test_the_table_is_that_of_the_twin(seed: int, batch_frames: int) -> None:
    random_ = random.Random(seed)
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*reference.POINT_HEADER, "Note"])
    for _ in range(random_.choice([0, 1, 30])):
        place = [random_.choice([f"{random_.random():.6f}", "0.50", "1"]) for _ in "xy"]
        votes = [random_.choice(["", "0", "1", "2"]) for _ in range(3)]
        answer = random_.choice(["yes", "no", "unsure", ""])
        label = random_.choice(["/m/c", "/m/d", "/m/p"])
        writer.writerow([random_.choice("ab"), *place, label, answer, "cc", *votes, random_.choice(["", "t, u"]), "n"])
    found = good({CLASSES: CLASS_ROWS, LIST: ARCHIVE[LIST], POINTS: out.getvalue()}, TASK)[0]
    old = found.annotations().shapes
    n = len(old)
    other = some_points(random_, n)
    some = {name: np.array([random_.random() < 0.4 for _ in range(n)], dtype=np.bool_) for name in ("points", "texts")}
    rows = np.arange(n, dtype=np.int64)
    new = old.replace(
        points=Ragged.concatenate([old.points, other.points]).take(np.where(some["points"], rows + n, rows)),
        label_ids=np.where(some["texts"], other.label_ids, old.label_ids).astype(np.int32),
        attributes=Texts.concatenate([old.attributes, other.attributes]).take(np.where(some["texts"], rows + n, rows)),
    )
    kept = continue_rows("shapes", old, new, {}) if n else old
    both = Shapes.concatenate([kept, some_points(random_, random_.choice([0, 1, 6]))])
    both = both.take(np.argsort(both.frames, kind="stable"))
    source = MemorySource.of_sink(
        found, TASK.frames, Annotations(shapes=both, images=found.annotations().images), batch_frames=batch_frames
    )
    written = read_zip(exported(source, TASK)[0])
    header = [*reference.POINT_HEADER, *(["Note"] if len(found.document["tables"][-1][3]) else [])]
    mids = {int(label_id): mid for label_id, mid in found.document["mids"].items()}
    headers = [columns for _, _, _, columns in found.document["tables"]]
    expected = reference.point_rows(both, TASK, headers, mids, header)
    text = written[POINTS].decode() if POINTS in written else ""
    assert list(csv.DictReader(io.StringIO(text, newline=""))) == expected
