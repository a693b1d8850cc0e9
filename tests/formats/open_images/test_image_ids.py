"""Ids of frames, beside the rule written one frame after the other; lists of many images in several pieces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.annotations import FrameIndex, FrameTable, Images, Kept
from app.columns import Ragged, Texts, narrow
from app.errors import Report
from app.formats.open_images.image_ids import Ids

NAMES = st.sampled_from(
    ["a.jpg", "b.jpg", "a.png", "b", "x/a.jpg", "x/b.jpg", "y/a.jpg", ".a", "é.jpg", "e\u0301.jpg", "./c"]
)
SAID = st.tuples(
    st.integers(0, 9),
    st.sampled_from(["a", "b", "a.jpg", "x/a", "train/a", "b.jpg", "é", "e\u0301", "c", "y/a.jpg", "./b", "x\\a"]),
)


def images_of(told: list[tuple[int, str]], start: int) -> Images:
    """Rows of image lists in the order of the store: by frame, the newest import last."""
    rows = sorted(told, key=lambda each: each[0])
    frames = np.array([frame + start for frame, _ in rows], dtype=np.int32)
    names = Ragged.from_bytes([name.encode() for _, name in rows])
    return Images(frames, names, Texts.same("train", len(rows)), Kept.empty(len(rows)))


def slow_ids(frames: FrameTable, told: list[tuple[int, str]]) -> list[str]:
    """Reference 4.2, frame by frame; paths are there once."""
    index = FrameIndex(frames)
    said = images_of(told, frames.start)
    parts = [(said.names, said.subsets)] if len(said) else []
    root = index.find_root(parts)
    paths = frames.names.to_texts()
    found = index.match(said.names, said.subsets, root).frames
    stems = [index.stems.cells(np.array([row])).row_text(0) for row in range(len(paths))]
    ids = [stem if unique else path for stem, path, unique in zip(stems, paths, index.stem_is_unique, strict=True)]
    for place, frame in enumerate(said.frames.tolist()):
        if found[place] == frame:
            ids[frame - frames.start] = said.names.row_bytes(place).decode()
    counts = Counter(ids)
    return [path if counts[text] > 1 else text for text, path in zip(ids, paths, strict=True)]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(NAMES, max_size=8, unique=True),
    st.lists(SAID, max_size=8),
    st.integers(0, 3),
    st.sampled_from([2, 1 << 16]),
)
def test_ids_are_those_of_the_rule(names: list[str], told: list[tuple[int, str]], start: int, step: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(narrow, "STEP", step)
        frames = FrameTable.build(names, [1] * len(names), [1] * len(names), start=start)
        told = [(frame, name) for frame, name in told if frame < len(names)]

        def passes() -> Iterator[Images]:
            if told:
                yield images_of(told, start)

        ids = Ids(frames, passes, False, Report()).ids
        expected = slow_ids(frames, told)
        if len(set(expected)) == len(expected):  # else two spellings of one path, which get numbers
            assert ids.to_texts() == expected
        rows = np.arange(len(names), dtype=np.int64)[::-1]
        assert ids.take(rows).to_texts() == ids.to_texts()[::-1]
        assert [ids.row_bytes(row).decode() for row in range(len(ids))] == ids.to_texts()
        assert len(set(ids.to_texts())) == len(ids)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("a.jpg b.jpg a.jpg a.jpg", "a b a_2 a_3"),
        ("a.jpg b.jpg a.jpg a.jpg_2", "a.jpg b a_2 a.jpg_2"),
        ("a.jpg a_2.jpg a.jpg a_3.png a.jpg a_4.jpg", "a a_2 a_5 a_3 a_6 a_4"),
        ("a.jpg a.png a.jpg a.png", "a.jpg a.png a_2 a_3"),
        ("a a.jpg a.jpg a", "a a.jpg a_3 a_2"),
        ("x/a.png a.png x/a.png", "x/a a x/a_2"),
    ],
)
def test_frames_of_one_path_get_numbers_in_front_of_their_extension(names: str, expected: str) -> None:
    n = len(names.split())
    ids = Ids(FrameTable.build(names.split(), [1] * n, [1] * n), lambda: iter(()), False, Report()).ids
    assert ids.to_texts() == expected.split()
    assert ids.numbered == {row for row, name in enumerate(names.split()) if name in names.split()[:row]}


def test_own_names_are_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is held but the names: no index is made for what is a part of its frame's name anyway."""
    frames = FrameTable.build([f"{n:05}.jpg" for n in range(1000)], [1] * 1000, [1] * 1000)
    told = [(n, f"{n:05}.jpg" if n % 3 else f"{n:05}") for n in range(0, 1000, 2)]
    settled = Ids(frames, lambda: iter([images_of(told, 0)]), False, Report())
    monkeypatch.delattr(FrameIndex, "_stem_lookup")
    names = dict(told)
    assert settled.ids.to_texts() == [names.get(n, f"{n:05}") for n in range(1000)]


@pytest.mark.parametrize("said", ["e\u0301", "./é", "/é", "e\u0301.jpg"])
def test_an_id_of_another_spelling_stays_as_it_came(said: str) -> None:
    frames = FrameTable.build(["é.jpg", "b.jpg"], [1, 1], [1, 1])
    assert Ids(frames, lambda: iter([images_of([(0, said)], 0)]), False, Report()).ids.to_texts() == [said, "b"]
