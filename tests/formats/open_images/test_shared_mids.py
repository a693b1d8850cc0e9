"""One LabelName that means one label to one import and another to another: each row comes back with its own label."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from app.annotations import Annotations
from app.errors import Report
from app.formats import Target
from tests.caller import Caller
from tests.formats.builders import exported, good, labels, read_zip, target, zip_of
from tests.formats.memory import MemorySink, MemorySource
from tests.formats.open_images.parts import (
    BOX_HEADER,
    BOXES,
    CLASSES,
    MASK_HEADER,
    MASKS,
    TAG_HEADER,
    TAGS,
    rectangle_png,
)
from tests.samples import picture
from tests.service import Service

POINTS, RELATIONSHIPS = "annotations/train-annotations-point-labels.csv", "annotations/train-annotations-vrd.csv"
TASK = target({"a.jpg": (8, 6), "b.jpg": (8, 6)}, labels("cat", "dog", "bird"))
Sets = list[MemorySink]


def archive(image: str, name: str, label: str) -> dict[str, str | bytes]:
    """A row of every kind about one image; the class file calls `name` as the label is called."""
    return {
        CLASSES: f"{name},{label}\n",
        BOXES: BOX_HEADER + f"{image},xclick,{name},1,0.25,0.50,0.25,0.5,0,0,0,0,0\n",
        TAGS: TAG_HEADER + f"{image},verification,{name},1\n{image},machine,{name},0\n",
        MASKS: MASK_HEADER + f"{image}.png,{image},{name},0,0.25,0.5,0.25,0.5,,\n",
        f"masks/train/{image}.png": rectangle_png(8, 6, 1, 1, 4, 4),
        POINTS: "ImageId,X,Y,Label,EstimatedYesNo,Source,YesVotes,NoVotes,UnsureVotes,TextLabel\n"
        f"{image},0.5,0.50,{name},yes,cf,3,0,0,\n",
        RELATIONSHIPS: "ImageID,LabelName1,LabelName2,XMin1,XMax1,YMin1,YMax1,XMin2,XMax2,YMin2,YMax2,"
        f"RelationshipLabel\n{image},{name},{name},0.25,0.50,0.25,0.5,0.25,0.50,0.25,0.5,at\n",
    }


def brought(*archives: dict[str, str | bytes], **options: str) -> Sets:
    """Sets of tasks that know nothing of each other."""
    sinks = []
    for number, members in enumerate(archives):
        sink = MemorySink(number + 1)
        found, _ = good(members, TASK, **options)
        sink.batches, sink.pack, sink.document = found.batches, found.pack, found.document
        sinks.append(sink)
    return sinks


def written(sinks: Sets, where: Target = TASK, **options: Any) -> tuple[dict[str, bytes], Report]:
    parts = [sink.annotations() for sink in sinks]
    whole = Annotations.concatenate(parts)
    packs = {sink.set_id: bytes(sink.pack) for sink in sinks}
    documents = {sink.set_id: sink.document for sink in sinks}
    data, report = exported(MemorySource(whole, where.frames, packs, documents), where, **options)
    return read_zip(data), report


def said(members: dict[str, bytes], where: Target = TASK) -> dict[str, set[tuple[int, str]]]:
    """Frame and label of everything that a reader who knows nothing else finds in an archive."""
    sink, _ = good(dict(members.items()), where)
    found, names = sink.annotations(), {label.id: label.name for label in where.labels.labels}
    return {
        kind: {(f, names[n]) for f, n in zip(table.frames.tolist(), table.label_ids.tolist(), strict=True)}
        for kind, table in (("shapes", found.shapes), ("tags", found.tags))
    }


def test_rows_of_every_kind_keep_their_label() -> None:
    sinks = brought(archive("a", "/m/1", "cat"), archive("b", "/m/1", "dog"))
    members, report = written(sinks)
    assert said(members) == {kind: {(0, "cat"), (1, "dog")} for kind in ("shapes", "tags")}
    for path, column in ((BOXES, 2), (TAGS, 2), (MASKS, 2), (POINTS, 3), (RELATIONSHIPS, 1), (RELATIONSHIPS, 2)):
        rows = [line.split(",") for line in members[path].decode().splitlines()[1:]]
        names = {cells[1 if path == MASKS else 0]: cells[column] for cells in rows}
        assert names == {"a": "/m/1", "b": "dog"}, path
    assert "a,xclick,/m/1,1,0.25,0.50,0.25,0.5,0,0,0,0,0" in members[BOXES].decode().splitlines(), "as it came"
    assert "b,xclick,dog,1,0.25,0.50,0.25,0.5,0,0,0,0,0" in members[BOXES].decode().splitlines(), "but for that cell"
    assert members[CLASSES].decode().splitlines()[:2] == ["/m/1,cat", "dog,dog"]
    assert report.counts == {"export.renamed": 1}
    (told,) = report.warnings
    assert told.value == "/m/1"
    assert all(word in told.message for word in ("/m/1", '"cat"', '"dog"'))


def test_of_three_imports_one_has_the_name() -> None:
    sinks = brought(*(archive("a", "/m/1", label) for label in ("bird", "dog", "cat")))
    members, report = written(sinks)
    assert said(members)["shapes"] == {(0, "bird"), (0, "dog"), (0, "cat")}
    assert report.counts == {"export.renamed": 2}
    members, report = written(sinks, label_ids="name")
    assert said(members)["shapes"] == {(0, "bird"), (0, "dog"), (0, "cat")}
    assert {line.split(",")[2] for line in members[TAGS].decode().splitlines()[1:]} == {"bird", "dog", "cat"}
    assert not report.counts


def test_another_name_of_its_own_is_written_before_the_label() -> None:
    sinks = brought(archive("a", "/m/1", "cat"), archive("b", "/m/2", "dog"), archive("b", "/m/1", "dog"))
    members, _ = written(sinks)
    assert {line.split(",")[2] for line in members[BOXES].decode().splitlines()[1:]} == {"/m/1", "/m/2"}
    assert said(members)["shapes"] == {(0, "cat"), (1, "dog")}


def test_an_import_that_was_told_by_options_gives_way() -> None:
    sinks = brought(archive("b", "/m/1", "cat"), map="label:/m/1=dog") + brought(archive("a", "/m/1", "cat"))
    sinks[1].set_id = 2
    members, report = written(sinks)
    assert said(members)["shapes"] == {(0, "cat"), (1, "dog")}
    assert report.counts == {"export.renamed": 1}


def test_a_label_that_is_called_like_the_name_has_it() -> None:
    sinks = brought(archive("a", "x", "cat"))
    where = replace(TASK, labels=labels("cat", "x", "bird"))
    members, report = written(sinks, where)
    assert said(members, where)["shapes"] == {(0, "cat")}
    assert report.counts == {"export.renamed": 1}


def test_labels_that_changed_their_names_have_others_in_the_class_file() -> None:
    sinks = brought(archive("a", "/m/1", "cat"), archive("b", "/m/2", "dog"))
    where = replace(TASK, labels=labels("dog", "cat", "bird"))
    members, report = written(sinks, where)
    assert said(members, where)["shapes"] == {(0, "dog"), (1, "cat")}
    assert members[BOXES].decode().count("/m/1") == members[BOXES].decode().count("/m/2") == 1
    assert not report.counts


def test_a_label_that_is_called_otherwise_since_is_so_in_the_class_file() -> None:
    """A task with the label's new name takes the archive; of rows nothing changes, nor of classes of no label."""
    first = archive("a", "/m/1", "cat")
    first[CLASSES] = "/m/1,Cat\n/m/9,Sparrow\n"
    sinks = brought(first)
    same = written(sinks)[0][CLASSES]
    assert same.startswith(b"/m/1,Cat\n/m/9,Sparrow\n"), "another letter case is no other name"
    where = replace(TASK, labels=labels("kitty", "dog", "bird"))
    members, report = written(sinks, where)
    assert said(members, where)["shapes"] == {(0, "kitty")}
    assert members[CLASSES].startswith(b"/m/1,kitty\n/m/9,Sparrow\n")
    assert members[BOXES] == written(sinks)[0][BOXES]
    assert not report.counts


def test_what_only_class_files_differ_in_is_no_contest() -> None:
    first, second = archive("a", "/m/1", "cat"), archive("b", "/m/2", "dog")
    first[CLASSES] = "/m/1,cat\n/m/9,Sparrow\n"
    second[CLASSES] = "/m/2,dog\n/m/9,House sparrow\n"
    members, report = written(brought(first, second))
    assert not report.counts
    assert b"/m/9,Sparrow\n" in members[CLASSES]


def test_an_append_that_names_it_otherwise_is_told() -> None:
    """Within one task a name stays with its label; `map` gives the rows of an append another one."""
    (first,) = brought(archive("a", "/m/1", "cat"))
    where = replace(TASK, earlier={1: first.document})
    sink, report = good(archive("b", "/m/1", "dog"), where)
    assert set(sink.annotations().shapes.label_ids.tolist()) == {1}
    told = [problem for problem in report.warnings if problem.code == "label.name_conflict"]
    assert [(problem.column, problem.value) for problem in told] == [("LabelName", "/m/1")]
    assert "map=label:/m/1=dog" in told[0].message
    sink, report = good(archive("b", "/m/1", "dog"), where, map="label:/m/1=dog")
    assert "label.name_conflict" not in report.counts
    assert set(sink.annotations().shapes.label_ids.tolist()) == {2}
    second = MemorySink(2)
    second.batches, second.pack, second.document = sink.batches, sink.pack, sink.document
    members, told_of = written([first, second])
    assert said(members)["shapes"] == {(0, "cat"), (1, "dog")}
    assert told_of.counts == {"export.renamed": 1}
    # A third, not told anything, means the cat again; its rows stay cats.
    third_archive = archive("a", "/m/1", "cat")
    found, _ = good(third_archive, replace(TASK, earlier={1: first.document, 2: second.document}))
    third = MemorySink(3)
    third.batches, third.pack, third.document = found.batches, found.pack, found.document
    assert said(written([first, second, third])[0])["shapes"] == {(0, "cat"), (1, "dog")}


def test_the_archive_of_a_project_gives_every_row_its_label(service: Service, tmp_path: Path) -> None:
    with Caller(service) as caller:
        listed = [{"name": "cat"}, {"name": "dog"}]
        one, other = (caller.json("POST", "/api/projects", json={"name": "p", "labels": listed})["id"] for _ in "12")
        for image, label in (("a", "cat"), ("b", "dog")):
            task = caller.task(image, [], {f"{image}.png": picture(8, 6)}, project_id=one)
            path = tmp_path / f"{image}.zip"
            path.write_bytes(zip_of(archive(image, "/m/1", label)))
            caller.bring(task, path)
        data = caller.export(one, tmp_path / "p.zip", of="projects", save_images="true").read_bytes()
        started = caller.json(
            "POST",
            f"/api/projects/{other}/dataset",
            params={"format": "Open Images V6 1.0"},
            files={"dataset_file": ("p.zip", data)},
        )
        caller.wait(started["rq_id"])
        found: dict[str, set[str]] = {}
        for task in caller.json("GET", f"/api/tasks?project_id={other}")["results"]:
            names = {label["id"]: label["name"] for label in caller.labels(task["id"])}
            frames = caller.json("GET", f"/api/tasks/{task['id']}/data/meta")["frames"]
            for shape in caller.annotations(task["id"])["shapes"]:
                found.setdefault(frames[shape["frame"]]["name"], set()).add(names[shape["label_id"]])
    assert {name.rpartition("/")[2]: labels_ for name, labels_ in found.items()} == {"a.png": {"cat"}, "b.png": {"dog"}}
