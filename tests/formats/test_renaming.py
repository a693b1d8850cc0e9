"""What `map=` may say."""

from __future__ import annotations

import pytest

from app.errors import InvalidInput, Report
from app.formats.renaming import parse_renaming


@pytest.mark.parametrize(
    ("text", "labels", "subsets"),
    [
        ("", {}, {}),
        ("label:Feline=cat", {"Feline": "cat"}, {}),
        ("label:/m/0bt9lr=Dog, subset:val=validation", {"/m/0bt9lr": "Dog"}, {"val": "validation"}),
        ("label:a=x\nlabel:b=x\n", {"a": "x", "b": "x"}, {}),
        ('"label:Salt, pepper=spices"', {"Salt, pepper": "spices"}, {}),
        ('"label:Fiat ""500""=car"', {'Fiat "500"': "car"}, {}),
        (r"label:a\=b=c\=d", {"a=b": "c=d"}, {}),
        (r"label:back\\slash=x", {"back\\slash": "x"}, {}),
        ("LABEL: Big Cat = cat ", {"Big Cat": "cat"}, {}),
        ("label:a=x,label:a=x", {"a": "x"}, {}),
        ("label:Foo:bar=x", {"Foo:bar": "x"}, {}),
    ],
)
def test_a_mapping_is_read(text: str, labels: dict[str, str], subsets: dict[str, str]) -> None:
    found = parse_renaming(text)
    assert (found.labels, found.subsets) == (labels, subsets)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Feline=cat", "says neither label nor subset; an entry is label:FROM=TO"),
        ("lable:Feline=cat", 'did you mean "label:"?'),
        ("colour:red=blue", "an entry is label:FROM=TO"),
        ("label:Feline", "is no mapping"),
        ("label:=cat", "is no mapping"),
        ("label:cat=", "is no mapping"),
        ("label:a=b=c", r"write those of a name as \="),
        ("subset:val=a/b", "cannot be a subset"),
        ("subset:val=..", "cannot be a subset"),
        ("label:a=x,label:a=y", 'the label "a" is mapped to two names'),
    ],
)
def test_anything_else_is_refused_with_its_place(text: str, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_renaming(text)
    assert caught.value.place == "map"
    assert words in caught.value.detail


def test_what_the_archive_does_not_have_is_told() -> None:
    found, report = parse_renaming("label:Felin=cat,label:Dog=dog,label:Cow=dog,subset:vall=x,subset:moon=x"), Report()
    assert (found.label("/m/d", "Dog"), found.label("/m/x", "Xylophone"), found.subset("test")) == ("dog", None, None)
    found.tell_unused(report, ["Feline", "Cow"], ["val"])
    assert [(p.code, p.value, p.suggestion) for p in report.warnings] == [
        ("map.unused", "Felin", "Feline"),
        ("map.unused", "vall", "val"),
        ("map.unused", "moon", None),
    ]


def test_unused_names_are_compared_only_while_they_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("app.formats.renaming.difflib.get_close_matches", lambda name, *_, **__: asked.append(name))
    renaming, report = parse_renaming(",".join(f"label:{number}=cat" for number in range(3000))), Report()
    renaming.tell_unused(report, ["Feline"], ["val"])
    assert report.counts["map.unused"] == 3000
    assert len(asked) < len(report.warnings) <= report.limit
