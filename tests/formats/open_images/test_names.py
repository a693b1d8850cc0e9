"""Names that become parts of paths."""

from __future__ import annotations

import pytest

from app.formats.open_images.names import clean_subset, is_plain_name, is_safe_box_id, mask_stem


@pytest.mark.parametrize("text", ["", ".", "..", "a/b", "a\\b", "a\0"])
def test_no_component_of_a_path(text: str) -> None:
    assert not is_plain_name(text)
    assert not is_safe_box_id(text)


@pytest.mark.parametrize("text", ["a", "my set", "été", "...", "a.b"])
def test_a_component_of_a_path(text: str) -> None:
    assert is_plain_name(text)
    assert clean_subset(text) == (text if text.strip(".") or text == "..." else "default")


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [("a/b", "a-b"), ("", "default"), ("..", "default"), ("a\nb", "a-b"), ("é" * 100, "é" * 64), ("/", "-")],
)
def test_a_subset_is_cleaned(text: str, cleaned: str) -> None:
    assert clean_subset(text) == cleaned


@pytest.mark.parametrize(
    ("parts", "stem"),
    [
        (("e88da03f2d80f1a1", "/m/019jd", "e16d01b9"), "e88da03f2d80f1a1_m019jd_e16d01b9"),
        (("a b/c", "日本", "00000000"), "a-b-c__00000000"),
        ((".a", "x", "0"), "-a_x_0"),
        (("con", "x", "0"), "con_x_0"),
        (("con.x", "x", "0"), "-con.x_x_0"),
        (("a" * 300, "b" * 300, "c" * 300), "a" * 120 + "_" + "b" * 60 + "_" + "c" * 40),
    ],
)
def test_the_stem_of_a_mask(parts: tuple[str, str, str], stem: str) -> None:
    assert mask_stem(*parts) == stem
