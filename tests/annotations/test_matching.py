"""Ids to frames, step by step, and the same by a plain loop."""

from __future__ import annotations

import tracemalloc
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.annotations import FrameIndex, FrameTable, TextLookup, TextSet, matching, nearest_texts, normalise_names
from app.columns import Ragged, Texts, narrow


def ragged(*texts: str) -> Ragged:
    return Ragged.from_bytes([text.encode() for text in texts])


def index(*names: str, pictures: tuple[str, ...] = (), **more: object) -> FrameIndex:
    return FrameIndex(FrameTable.build(list(names), [1] * len(names), [1] * len(names), **more), pictures)


def found(of: FrameIndex, *ids: str, **more: object) -> list[int]:
    return of.match(ragged(*ids), **more).frames.tolist()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "image"),
    [
        pytest.param("a.jpg", "a.jpg", id="the path itself"),
        pytest.param("cats/a.jpg", "cats/a", id="without its extension"),
        pytest.param("a.b.jpg", "a.b", id="only the last extension goes"),
        pytest.param(".hidden", ".hidden", id="a leading dot is no extension"),
        pytest.param("cats/a.jpg", "cats\\a", id="a backslash"),
        pytest.param("cats/a.jpg", "./cats/a", id="a leading dot and slash"),
        pytest.param("cats/a.jpg", "/cats/a.jpg", id="a leading slash"),
        pytest.param("é.jpg", unicodedata.normalize("NFD", "é"), id="another normal form"),
        pytest.param("cats/a.jpg", "a", id="the end of the path"),
        pytest.param("cats/small/a.jpg", "small/a.jpg", id="two parts at the end"),
    ],
)
def test_an_id_means_the_frame(name: str, image: str) -> None:
    assert found(index("other.jpg", name), image) == [1]


@pytest.mark.parametrize(
    ("name", "image"),
    [
        pytest.param("cats/a.jpg", "ats/a", id="part of a component"),
        pytest.param("0.jpg", "1", id="digits are no frame number"),
        pytest.param("a.jpg", "A", id="another case"),
        pytest.param("a.jpg", "train/a", id="a folder that is no subset"),
        pytest.param("a.jpg", "", id="nothing"),
        pytest.param("a.jpg", "/", id="a slash alone"),
        pytest.param("a.jpg", "a.png", id="another extension"),
    ],
)
def test_an_id_means_no_frame(name: str, image: str) -> None:
    assert found(index(name), image) == [-1]


def test_the_subset_in_front_is_taken_off() -> None:
    of = index("a.jpg", "b/c.jpg")
    assert found(of, "train/a", "train/b/c.jpg", "test/a", subsets="train") == [0, 1, -1]
    assert found(of, "train/a", "test/a", subsets=Texts.from_list(["train", "test"])) == [0, 0]


def test_frames_that_share_a_stem_are_ambiguous_unless_a_picture_tells() -> None:
    matches = index("a.jpg", "a.png").match(ragged("a", "a.png"))
    assert matches.frames.tolist() == [-1, 1]
    assert matches.ambiguous.tolist() == [True, False]
    assert found(index("a.jpg", "a.png", pictures=("images/train/a.png",)), "a") == [1]
    assert found(index("a.jpg", "a.png", pictures=("x/a.png", "x/a.jpg")), "a") == [-1]


def test_one_folder_settles_what_several_have() -> None:
    of = index("cats/1.jpg", "cats/2.jpg", "dogs/1.jpg", "dogs/3.jpg")
    matches = of.match(ragged("1", "2"))
    assert matches.frames.tolist() == [-1, 1]
    assert matches.needs_root.tolist() == [True, False]
    root = of.find_root([(ragged("1"), None), (ragged("2"), None)])
    assert root is not None
    assert found(of, "1", "2", root=root) == [0, 1]
    assert of.find_root([(ragged("1"), None)]) is None, "both folders hold it"
    assert of.find_root([(ragged("2", "3"), None)]) is None, "no folder holds both"


def test_a_root_whose_folder_has_two_extensions_asks_the_picture() -> None:
    names = ("cats/1.jpg", "cats/1.png", "dogs/1.jpg", "cats/2.jpg")
    of = index(*names, pictures=("images/train/1.png",))
    root = of.find_root([(ragged("1", "2"), None)])
    assert found(of, "1", root=root) == [1]
    plain = index(*names)
    assert plain.match(ragged("1"), root=plain.find_root([(ragged("1", "2"), None)])).ambiguous.tolist() == [True]


def test_ids_of_several_parts_lie_under_one_folder() -> None:
    of = index("x/1/cats/1.jpg", "x/1/2.jpg", "x/2/cats/1.jpg", "x/2/3.jpg", "cats/1/5.jpg")
    parts = [(ragged("cats/1", "cats/1"), None), (ragged("2"), None)]
    root = of.find_root(parts)
    assert root == b"x/1"
    assert of.find_root([*parts, (ragged("3"), None)]) is None
    assert found(of, "cats/1", "2", "1/cats/1", root=root) == [0, 1, 0]
    assert found(of, "cats/1", "1/2", "5", "1/5.jpg") == [-1, 1, 4, 4]
    assert of.match(ragged("cats/1")).needs_root.tolist() == [True]


def test_the_whole_path_under_a_root_comes_before_a_stem() -> None:
    of = index("a/1.x", "a/1.x.jpg", "b/1.x")
    assert found(of, "1.x", root=b"a") == [0]
    assert found(of, "1.x", root=b"b") == [2]


def test_paths_of_many_parts_take_no_memory_for_each_part() -> None:
    """400 folders deep: every end of every path would be 6 GB."""
    folders = "a/" * 400
    names = [f"{folders}{number}.jpg" for number in range(20_000)]
    of = index(*names)
    tracemalloc.start()
    asked = ["7", "a/8.jpg", "a/a/a/9", "a/" * 31 + "10", "a/" * 32 + "11", names[12]]
    assert found(of, *asked) == [7, 8, 9, 10, -1, 12]
    assert found(of, *("a/" * depth + "5" for depth in range(20))) == [5] * 20
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 150 << 20


def test_frames_of_a_video_go_by_their_number() -> None:
    of = index("frame_000010", "frame_000012", is_video=True, start=5)
    assert found(of, "frame_10", "frame_000012", "frame_0000000010.png", "frame_5", "10") == [5, 6, 5, -1, -1]


def test_numbers_start_at_the_first_frame_of_the_table() -> None:
    assert found(index("a.jpg", "b.jpg", start=100), "b", "c") == [101, -1]


def test_frames_of_equal_names_are_ambiguous() -> None:
    of = index("a.jpg", "a.jpg")
    assert of.match(ragged("a.jpg")).ambiguous.tolist() == [True]


@pytest.mark.parametrize("parted_from", [1, 1 << 18])
def test_a_stem_is_unique_unless_another_frame_has_it(parted_from: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "PARTED_FROM", parted_from)
    many = [f"{n}.jpg" for n in range(3000)]
    assert index(*many).is_plain
    assert not index(*many, "7.png").is_plain
    assert not index(*many, "77").is_plain
    assert index("a.jpg", "a.png", "b.jpg", "b", "c.jpg").stem_is_unique.tolist() == [False, False, False, False, True]


def test_no_frames_and_no_ids() -> None:
    assert found(index(), "a") == [-1]
    assert found(index("a.jpg")) == []
    assert index().nearest("a") == []


COMPOSED, PARTED = unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")


def test_the_spelling_chooses_between_frames_that_differ_by_composition() -> None:
    of = index(f"{COMPOSED}.jpg", f"{PARTED}.jpg", f"x/{COMPOSED}.png", f"x/{PARTED}.png", start=10)
    assert found(of, f"{COMPOSED}.jpg", f"{PARTED}.jpg", COMPOSED, PARTED) == [10, 11, 10, 11]
    assert found(of, f"{COMPOSED}.png", PARTED + ".png") == [12, 13], "the end of a path"
    assert found(of, f"train/x/{PARTED}", f"x/{COMPOSED}", subsets=Texts.from_list(["train", ""])) == [13, 12]
    assert of.stem_is_unique.tolist() == [False] * 4
    third = index("e\u0301\u0323.jpg", "\u1eb9\u0301.jpg")
    assert third.match(ragged("e\u0323\u0301.jpg")).ambiguous.tolist() == [True], "spelled as neither"


NAMES = st.lists(st.text(f"ab./{COMPOSED}e{PARTED[1]}", min_size=1, max_size=6), max_size=12)


@settings(max_examples=200, deadline=None)
@given(NAMES, NAMES)
def test_matching_equals_the_plain_loop(names: list[str], ids: list[str]) -> None:
    matches = index(*names).match(ragged(*ids))
    expected = [plain_match(names, image) for image in ids]
    assert matches.frames.tolist() == [frame for frame, _ in expected]
    assert matches.ambiguous.tolist() == [ambiguous for _, ambiguous in expected]


def plain_match(names: list[str], image: str, form: str = "NFC") -> tuple[int, bool]:
    """Steps 1, 2 and 4 as the reference words them; what stays ambiguous again with names as they are spelled."""

    def clean(name: str) -> str:
        name = (unicodedata.normalize("NFC", name) if form else name).replace("\\", "/")
        return name[2:] if name.startswith("./") else name[1:] if name.startswith("/") else name

    def stem(name: str) -> str:
        folder, slash, base = name.rpartition("/")
        root, dot, _ = base.rpartition(".")
        return folder + slash + root if dot and root else name

    asked = image
    paths, image = [clean(name) for name in names], clean(image)
    steps = [
        [row for row, path in enumerate(paths) if path == image],
        [row for row, path in enumerate(paths) if stem(path) == image],
        [row for row, path in enumerate(paths) if path.endswith("/" + image) or stem(path).endswith("/" + image)],
    ]
    for frames in steps:
        if len(frames) == 1:
            return frames[0], False
        if frames:
            frame, _ = plain_match(names, asked, "") if form else (-1, True)
            return frame, frame < 0
    return -1, False


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text("ab", max_size=3), max_size=20), st.lists(st.text("ab", max_size=3), max_size=8))
def test_a_lookup_equals_a_dict(texts: list[str], asked: list[str]) -> None:
    lookup = TextLookup(ragged(*texts))
    groups = lookup.find(ragged(*asked))
    for text, group in zip(asked, groups.tolist(), strict=True):
        rows = [row for row, known in enumerate(texts) if known == text]
        if rows:
            assert lookup.members(np.array([group]))[1].tolist() == rows
            assert (int(lookup.firsts[group]), int(lookup.sizes[group])) == (rows[0], len(rows))
        else:
            assert group == -1


def test_a_lookup_survives_equal_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    from app.annotations import matching

    monkeypatch.setattr(matching, "_hashes", lambda cells: np.full(len(cells), 7, dtype=np.uint64))
    lookup = TextLookup(ragged("b", "a", "b", "c", "a"))
    groups = lookup.find(ragged("a", "b", "c", "d"))
    assert [sorted(lookup.members(groups[i : i + 1])[1].tolist()) for i in range(3)] == [[1, 4], [0, 2], [3]]
    assert groups[3] == -1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.text("abc", max_size=3), max_size=10), max_size=8))
def test_a_text_set_equals_a_set(parts: list[list[str]]) -> None:
    known, seen = TextSet(), set[str]()
    for part in parts:
        assert known.has(ragged(*part)).tolist() == [text in seen for text in part]
        new = known.add(ragged(*part)).tolist()
        for text, is_new in zip(part, new, strict=True):
            assert is_new == (text not in seen)
            seen.add(text)
        assert len(known) == len(seen)
    other = TextSet()
    other.add(ragged("a", "zz"))
    assert known.count_missing(other) == len(seen - {"a", "zz"})


def test_names_are_normalised_together() -> None:
    names = ragged("./a", "/b", "c\\d", "e\u0301", "", ".", "\u0301x")
    assert normalise_names(names).to_texts() == ["a", "b", "c/d", "é", "", ".", "\u0301x"]


@pytest.mark.parametrize(
    ("names", "text", "told"),
    [
        ("a.png b.png a.jpg", "a", '"a.png" and "a.jpg"; write the folder or the extension with it'),
        ("x/a.png y/a.png a.gif", "a.png", '"x/a.png" and "y/a.png"; write the folder or the extension with it'),
        ("x/a.png y/a.png y/a.jpg", "y/a", '"y/a.png" and "y/a.jpg"; write the folder or the extension with it'),
        ("a.png b.png a.png", "a.png", 'of several tasks, all of them called "a.png"; an id means one of them all'),
        ("a.png b.png a.png", "train/a", 'of several tasks, all of them called "a.png"; an id means one of them all'),
    ],
)
def test_an_ambiguous_id_is_told_with_what_it_may_mean(names: str, text: str, told: str) -> None:
    assert told in index(*names.split()).several(text)


def test_the_nearest_names_come_first() -> None:
    names = ragged(*(f"picture_{number:05}.jpg" for number in range(2000)), "cats/Rome.jpg")
    assert nearest_texts("picture_00017", names)[0] == "picture_00017.jpg"
    assert nearest_texts("rome", names) == ["cats/Rome.jpg"]
    assert nearest_texts("zzzzzzzz", ragged("a.jpg")) == []
    for blank in ("a ", " a", "cats/a\t", "\xa0a "):
        assert nearest_texts(blank, ragged("b.jpg", "a.jpg")) == ["a.jpg"]


def test_names_with_nul_are_normalised_one_by_one() -> None:
    assert normalise_names(ragged("e\u0301\0x", "./é")).to_texts() == ["é\0x", "é"]


def test_a_subset_that_is_empty_takes_nothing_off() -> None:
    of = index("a.jpg")
    assert found(of, "/b", "train/a", subsets=Texts.from_list(["", "train"])) == [-1, 0]


def test_the_nearest_of_many_names_are_those_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(5)
    texts = [f"{number:016x}.jpg" for number in random.integers(0, 2**63, 5000).tolist()]
    names = ragged(*texts)
    asked = [f"{text[:12]}zz" for text in texts[::500]]
    whole = [nearest_texts(text, names) for text in asked]
    assert [found[0] for found in whole] == texts[::500]
    monkeypatch.setattr(narrow, "STEP", 700)
    assert [nearest_texts(text, names) for text in asked] == whole
