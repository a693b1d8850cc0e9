"""Tracks of an archive in a task whose frames lie otherwise: each row is shown as it says, be it by a track or not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.annotations import Annotations, AttributeSpec, Label, LabelCatalog, Shapes, Tracks, expand_tracks
from app.columns import Ragged, Texts
from tests.formats.builders import exported, imported, read_zip, target, zip_of
from tests.formats.memory import MemorySource

SIDE = "annotations/oid_extra.json"
LABELS = LabelCatalog((Label(1, "cat", "#ff0000", "any"),))
KEYS = {0: 0.0, 3: 30.0, 4: None}  # frame → left side, None: outside
KINDS = {
    "rectangle": lambda x: [x, 1.0, x + 10, 11.0],
    "polygon": lambda x: [x, 1.0, x + 10, 1.0, x + 10, 11.0, x, 11.0],
    "points": lambda x: [x, 1.0],
    "mask": lambda x: [0, 1, 1, 1, x, 1, x + 2, 1],
    "polyline": lambda x: [x, 1.0, x + 10, 11.0],
}


def frames_of(order: str) -> dict[str, tuple[int, int]]:
    return {f"{name}.jpg": (100, 80) for name in order}


def track_of(keys: Mapping[int, float | None], kind: str = "rectangle") -> Tracks:
    shapes: list[dict[str, Any]] = []
    for frame, x in keys.items():
        look = {"occluded": False, "outside": x is None, "z_order": 0, "rotation": 0.0, "attributes": []}
        shapes.append({"type": kind, "points": KINDS[kind](x or 0.0), "frame": frame, **look})
    return replace(
        Tracks.empty(1),
        frames=np.array([min(keys)], dtype=np.int32),
        label_ids=np.array([1], dtype=np.int32),
        bodies=Ragged.from_bytes([json.dumps({"shapes": shapes, "elements": []}).encode()]),
    )


def members_of(tracks: Tracks, order: str = "abcdef") -> dict[str, bytes]:
    where = target(frames_of(order), LABELS, subset="train")
    data, _ = exported(MemorySource(Annotations(tracks=tracks), where.frames), where)
    return read_zip(data)


def reread(members: Mapping[str, bytes], order: str, **options: Any) -> tuple[Annotations, list[str]]:
    sink, report = imported(zip_of(members), target(frames_of(order), LABELS, subset="train"), **options)
    assert not report.errors, report.errors
    codes = sorted(code for code in report.counts if not code.startswith("image."))
    return sink.annotations(), codes


def shown(found: Annotations, order: str) -> list[tuple[str, list[float]]]:
    """What each picture shows, be it of a track or not."""
    tables = [found.shapes, expand_tracks(found.tracks, 0, len(order))]
    shapes = Shapes.concatenate(tables)
    geometry = (shapes.points.row(row).tolist() or shapes.runs.row(row).tolist() for row in range(len(shapes)))
    return sorted(zip((order[frame] for frame in shapes.frames.tolist()), geometry, strict=True))


@pytest.mark.parametrize("kind", ["rectangle", "points"])
@pytest.mark.parametrize(
    ("order", "is_track"),
    [
        ("abcdef", True),
        ("xabcdef", True),  # pictures in front
        ("abcdefx", True),
        ("bacdef", False),  # b is in front of the track
        ("acbdef", False),  # b and c have changed places
        ("abfcde", False),  # a listed picture in between
        ("abxcdef", False),  # one that came later: the way is longer
        ("fedcba", False),
        ("adbcef", False),
        ("abcedf", False),  # the end is in front of a key frame
    ],
)
def test_a_track_is_good_only_where_it_shows_its_rows(order: str, is_track: bool, kind: str) -> None:
    members = members_of(track_of(KEYS, kind))
    before, codes = reread(members, "abcdef")
    assert (len(before.tracks), len(before.shapes), codes) == (1, 0, [])
    found, codes = reread(members, order)
    assert (len(found.tracks), codes) == ((1, []) if is_track else (0, ["extra.ignored"]))
    assert shown(found, order) == shown(before, "abcdef")


@pytest.mark.parametrize(
    ("order", "is_track"), [("abcdef", True), ("bacdef", False), ("acbdef", False), ("abxcdef", False)]
)
def test_tracks_of_outlines_are_held_against_their_masks(order: str, is_track: bool) -> None:
    found, codes = reread(members_of(track_of(KEYS, "polygon")), order)
    assert (len(found.tracks), codes) == ((1, []) if is_track else (0, ["extra.ignored"]))
    rows = expand_tracks(found.tracks, 0, len(order)).frames if is_track else found.shapes.frames
    assert sorted(order[frame] for frame in rows.tolist()) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("to_polygons", [False, True])
def test_a_row_of_several_parts_is_one_row_of_its_track(to_polygons: bool) -> None:
    members = members_of(track_of(KEYS, "mask"))  # two pixels, apart
    found, codes = reread(members, "abcdef", conv_mask_to_poly=to_polygons)
    assert (len(found.tracks), len(found.shapes), codes) == (1, 0, [])


@pytest.mark.parametrize(
    ("order", "is_track"),
    [("abc", True), ("abcx", True), ("axbc", True), ("bac", False)],
)
def test_where_each_row_is_a_key_frame_pictures_may_come_in_between(order: str, is_track: bool) -> None:
    found, _ = reread(members_of(track_of({0: 0.0, 1: 5.0, 2: 9.0}), "abc"), order)
    assert len(found.tracks) == is_track


def test_what_a_track_did_not_show_it_does_not_show_at_its_open_end() -> None:
    members = members_of(track_of({1: 0.0, 2: 5.0}), "xab")
    assert len(reread(members, "xab")[0].tracks) == 1
    found, _ = reread(members, "abx")
    assert (len(found.tracks), len(found.shapes)) == (0, 2)
    members = members_of(track_of({1: 0.0, 2: 5.0}), "xab")
    assert len(reread(members, "aby", unmatched="skip")[0].tracks) == 1  # nobody said that y shows nothing


def test_tracks_without_rows_come_as_they_can_and_that_is_told() -> None:
    members = members_of(track_of(KEYS, "polyline"))
    for order, told in (("abcdef", []), ("adbcef", ["extra.ignored"])):
        found, codes = reread(members, order)
        assert (len(found.tracks), codes) == (1, told)


@pytest.mark.parametrize("way", ["null", "[]", "[0,3,4]", "[0,4,3,6]", "[0,-3,4,6]", '[0,"3",4,6]', "[0,3,4,true]"])
def test_of_older_archives_the_rows_alone_are_looked_at(way: str) -> None:
    members = members_of(track_of(KEYS))
    told = b'"at":[0,3,4,6]'
    assert told in members[SIDE]
    members[SIDE] = members[SIDE].replace(told, b'"at":' + way.encode())
    assert [len(reread(members, order)[0].tracks) for order in ("abcdef", "bacdef", "abxcdef")] == [1, 0, 1]


@pytest.mark.parametrize("body", ["null", '{"shapes":null,"elements":[]}', '{"shapes":[1],"elements":[]}'])
def test_of_what_is_no_track_the_rows_are_read(body: str) -> None:
    members = members_of(track_of(KEYS))
    head, _, _ = members[SIDE].partition(b'"body":')
    members[SIDE] = head + b'"body":' + body.encode() + b"}\n]}"
    found, codes = reread(members, "abcdef")
    assert (len(found.tracks), len(found.shapes), codes) == (0, 4, ["extra.ignored"])


def test_names_are_looked_up_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.formats.open_images.track_ways.NAMES_AT_ONCE", 2)
    members = members_of(Tracks.concatenate([track_of({0: 0.0, 2: 9.0, 3: None}), track_of({1: 0.0, 2: 5.0})]))
    assert [len(reread(members, order)[0].tracks) for order in ("abcdef", "bacdef")] == [2, 0]


@pytest.mark.parametrize("is_part", [False, True])
def test_no_track_goes_on_behind_the_frames_of_a_job(is_part: bool) -> None:
    members = members_of(track_of({0: 0.0, 1: 5.0, 2: None}), "abcd")
    document = json.loads(members[SIDE])
    keys = document["entries"][-1]["body"]["shapes"]
    keys[2]["points"] = keys[1]["points"]
    members[SIDE] = json.dumps(document).encode()
    where = replace(target(frames_of("ab"), LABELS, subset="train"), is_part=is_part)
    sink, report = imported(zip_of(members), where, unmatched="skip")
    assert not report.errors
    found = sink.annotations()
    assert (len(found.tracks), len(found.shapes)) == ((0, 2) if is_part else (1, 0))
    moving = track_of({0: 0.0, 1: 0.0, 2: None})  # it ends where it began
    data, _ = exported(MemorySource(Annotations(tracks=moving), where.frames), where)
    sink, _ = imported(data, replace(where, is_part=False))
    assert len(sink.annotations().tracks) == (not is_part), "nor in the export of one"


WORDS = AttributeSpec(10, "name", False, "text", "", ("",)), AttributeSpec(11, "mood", True, "text", "", ("",))
SPEAKING = LabelCatalog((Label(1, "cat", "#ff0000", "any", WORDS),))


def speaking(moods: Mapping[int, str], group: int = 7) -> dict[str, bytes]:
    """The archive of a track with a name, a group and a mood at each key frame."""
    track = track_of(KEYS)
    body = json.loads(track.bodies.row_bytes(0))
    for key in body["shapes"]:
        mood = moods.get(key["frame"])
        key["attributes"] = [] if mood is None else [{"spec_id": 11, "value": mood}]
    track = replace(
        track,
        groups=np.array([group], dtype=np.int32),
        attributes=Texts.from_list(['[{"spec_id":10,"value":"Tom"}]']),
        bodies=Ragged.from_bytes([json.dumps(body).encode()]),
    )
    where = target(frames_of("abcdef"), SPEAKING, subset="train")
    return read_zip(exported(MemorySource(Annotations(tracks=track), where.frames), where)[0])


def words_of(shapes: Shapes, order: str) -> dict[str, dict[int, str]]:
    texts = [{one["spec_id"]: one["value"] for one in json.loads(text)} for text in shapes.attributes.to_list()]
    return dict(zip((order[frame] for frame in shapes.frames.tolist()), texts, strict=True))


@pytest.mark.parametrize(
    ("moods", "between"), [({0: "calm", 3: "wild"}, {}), ({0: "calm", 3: "calm", 4: "calm"}, {11: "calm"}), ({}, {})]
)
@pytest.mark.parametrize("to_polygons", [False, True])
def test_shapes_of_a_track_that_does_not_fit_keep_its_words_and_group(
    moods: dict[int, str], between: dict[int, str], to_polygons: bool
) -> None:
    members, order = speaking(moods), "acbdef"
    wanted = {
        name: {10: "Tom", **({11: moods[frame]} if frame in moods else between)} for frame, name in enumerate("abcd")
    }
    where = target(frames_of(order), SPEAKING, subset="train")
    for _ in range(3):  # nor are they lost on another trip
        sink, report = imported(zip_of(members), where, conv_mask_to_poly=to_polygons)
        found = sink.annotations()
        assert (len(found.tracks), report.n_errors) == (0, 0)
        assert words_of(found.shapes, order) == wanted
        assert set(found.shapes.groups.tolist()) == {7}
        members = read_zip(exported(MemorySource.of_sink(sink, where.frames), where)[0])
    assert report.counts.get("extra.ignored") is None


def test_a_group_or_label_that_cannot_be_leaves_the_rows_as_they_are() -> None:
    members = speaking({0: "calm"})
    for old, new in ((b'"group":7', b'"group":"x"'), (b'"label":"cat","image"', b'"label":"dog","image"')):
        assert old in members[SIDE]
        sink, _ = imported(
            zip_of({**members, SIDE: members[SIDE].replace(old, new)}),
            target(frames_of("acbdef"), SPEAKING, subset="train"),
        )
        found = sink.annotations()
        assert (len(found.shapes), set(found.shapes.groups.tolist())) == (4, {0})
        assert set(found.shapes.attributes.to_list()) == {"[]"}
