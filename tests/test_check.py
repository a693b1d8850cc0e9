"""`annoport check` for people and build servers: outputs, exit codes, rules; the problems that an import tells."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from app.errors import Problem, Report
from app.findings import MEANINGS, write_junit, write_sarif
from tests.desk import Desk
from tests.formats.builders import zip_of
from tests.formats.open_images.random_archives import make_archive
from tests.formats.open_images.test_consistency import BOXES, TAGS, broken, members
from tests.operations.test_random_imports import spoiled
from tests.samples import picture

BAD_ROW = "a,x,/m/cat,abc,0.1,0.5,0.1,0.5,7,0,0,0,0"


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    told = broken("duplicate_box")
    told["boxes"].append(BAD_ROW)
    told["tags"].append('a,"v, ""w""",Nobody,2')
    path = tmp_path / "bad one.zip"
    path.write_bytes(zip_of(members(told)))
    return path


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "sound.zip"
    path.write_bytes(zip_of(members(broken("duplicate_box"))))
    return path


def check(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["check", *map(str, arguments)])


@pytest.mark.parametrize(
    ("option", "text", "wrong"),
    [
        ("--labels", '{"a": 1}', "holds no list of labels"),
        ("--labels", '{"count": 9, "next": "x", "results": [{"name": "Cat"}]}', "one page of the labels"),
        ("--labels", '[{"name": 5}]', "[0].name: Not a valid string"),
        ("--labels", '[{"name": "Cat"}, {"name": "Cat"}]', '"Cat" is there twice'),
        ("--labels", '[{"name": "Cat", "attributes": [{"name": "x", "input_type": "txt"}]}]', '"txt" is not a valid'),
        ("--labels", '[{"name": "Cat"', "is not JSON"),
        ("--labels", "[" * 100_000, "is not JSON"),
        ("--frames", "a.png 99999999999999999999 5", "frames.txt:1: no picture measures 99999999999999999999 x 5"),
        ("--frames", "a.png 0 5", "frames.txt:1: no picture measures 0 x 5"),
        ("--frames", "a.png 4 5\n\na.png", 'frames.txt:3: "a.png" is there twice'),
    ],
)
def test_frames_and_labels_that_cannot_be_are_told(
    sound: Path, tmp_path: Path, option: str, text: str, wrong: str
) -> None:
    path = tmp_path / ("frames.txt" if option == "--frames" else "labels.json")
    path.write_text(text, encoding="utf-8")
    done = check(sound, option, path)
    assert (done.exit_code, wrong in done.output) == (2, True), done.output


@pytest.mark.parametrize(
    "labels",
    ['["Cat", "Dog"]', '{"next": null, "results": [{"name": "Cat", "id": 7}, {"name": "Dog"}]}', "Cat\nDog\nCat"],
)
def test_labels_are_told_in_several_ways(sound: Path, tmp_path: Path, labels: str) -> None:
    path = tmp_path / "labels.json"
    path.write_text(labels, encoding="utf-8")
    assert check(sound, "--labels", path).exit_code == 0


def test_a_folder_of_pictures_may_hold_what_desktops_leave(sound: Path, tmp_path: Path) -> None:
    for name, body in {
        "a.png": picture(100, 80), "in/b.jpg": picture(100, 80), "._a.png": b"\0", "in/__MACOSX/c.jpg": b"\0",
    }.items():  # fmt: skip
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    done = check(sound, "--frames", tmp_path / "pictures")
    assert done.exit_code == 0, done.output
    (tmp_path / "pictures" / "in" / "d.png").write_bytes(b"junk")
    done = check(sound, "--frames", tmp_path / "pictures")
    assert (done.exit_code, "in/d.png: not a JPEG" in done.output) == (2, True), done.output


def test_exit_codes_tell_sound_broken_and_impossible(bad: Path, sound: Path, tmp_path: Path) -> None:
    assert check(sound).exit_code == 0
    assert check(sound, "--fail-on", "warning").exit_code == 1
    assert check(sound, "--fail-on", "warning", "--rules", "none").exit_code == 0
    assert check(bad).exit_code == 1
    (tmp_path / "labels.json").write_text("[{]")
    (tmp_path / "frames.txt").write_bytes(b"\xff\xfe")
    for wrong in (
        ("--rules", "duplicates"),
        ("--labels", tmp_path / "labels.json"),
        ("--frames", tmp_path / "frames.txt"),
        ("--format", "COCO"),
        ("--min-confidence", "7"),
        ("--output", "xml"),
    ):
        done = check(sound, *wrong)
        assert (done.exit_code, "Traceback" in done.output) == (2, False), wrong
    assert check(tmp_path / "none.zip").exit_code == 2
    (tmp_path / "no.zip").write_bytes(b"no zip")
    assert check(tmp_path / "no.zip").exit_code == 1


def test_text_has_a_line_for_each_problem(bad: Path) -> None:
    lines = check(bad, "--rules", "duplicate_box").output.splitlines()
    assert f'error: {BOXES}:5:IsOccluded: value.flag: expected 1, 0, or -1 for unknown (found "7")' in lines
    assert any(line.startswith(f"warning: {BOXES}:4:XMin: rule.duplicate_box: ") for line in lines)
    assert lines[-1] == "3 errors, 2 warnings"
    assert check(bad, "--rules", "none").output.splitlines()[-1] == "3 errors, 1 warning"


def test_json_is_the_report(bad: Path) -> None:
    report = json.loads(check(bad, "--json", "--rules", "all,-unused_class").output)
    assert (report["n_errors"], report["counts"]["rule.duplicate_box"]) == (3, 1)
    assert "rule.unused_class" not in report["counts"]


def test_sarif_has_rules_results_and_places(bad: Path) -> None:
    log = json.loads(check(bad, "--output", "sarif").output)
    assert (log["version"], log["$schema"]) == ("2.1.0", "https://json.schemastore.org/sarif-2.1.0.json")
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    ids = [rule["id"] for rule in driver["rules"]]
    assert (driver["name"], len(ids)) == ("annoport", len(set(ids)))
    assert [rule["shortDescription"]["text"] for rule in driver["rules"]] == [MEANINGS[code] for code in ids]
    assert run["invocations"] == [{"executionSuccessful": True, "exitCode": 1}]
    assert run["columnKind"] in ("utf16CodeUnits", "unicodeCodePoints")
    for result in run["results"]:
        assert ids[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] in ("error", "warning", "note", "none")
        assert result["message"]["text"]
        (location,) = result["locations"]
        place = location["physicalLocation"]
        assert place["artifactLocation"]["uri"]
        assert all(number >= 1 for number in place.get("region", {}).values())
    places = {
        (result["ruleId"], result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]):
        result["locations"][0]["physicalLocation"].get("region")
        for result in run["results"]
    }  # fmt: skip
    assert places["value.not_number", BOXES] == {"startLine": 5, "startColumn": BAD_ROW.index("abc") + 1}
    assert places["value.range", TAGS] == {"startLine": 5, "startColumn": len('a,"v, ""w""",Nobody,') + 1}
    assert places["rule.unused_class", "annotations/class-descriptions.csv"] is None


def test_findings_of_no_file_and_of_odd_texts_can_be_written() -> None:
    report = Report()
    report.error("zip.invalid", "not a zip: \x00\x1b[31m\ud800 <b>", value="\x07")
    report.add(Problem("odd.code", "ünder ]]> &", "warning", "a b/ü.csv", 3, "X"))
    log = json.loads(write_sarif(report, ["x y.zip"], {}, failed=True).encode("utf-8", "replace"))
    uris = [
        result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in log["runs"][0]["results"]
    ]
    assert uris == ["x%20y.zip", "a%20b/%C3%BC.csv"]
    suites = ElementTree.fromstring(write_junit(report, ["x y.zip"]))
    assert [case.get("name") for case in suites.iter("testcase")] == ["archive", "a b/ü.csv"]


def test_junit_has_a_case_for_each_file(bad: Path) -> None:
    suites = ElementTree.fromstring(check(bad, "--output", "junit").output)
    (suite,) = suites.findall("testsuite")
    cases = {case.get("name"): case for case in suite.findall("testcase")}
    assert suite.get("name") == "bad one.zip"
    assert (suite.get("tests"), suite.get("failures")) == (str(len(cases)), "2")
    failure = cases[BOXES].find("failure")
    assert failure is not None
    assert (failure.get("type"), failure.text is not None and "value.not_number" in failure.text) == (
        "value.flag",
        True,
    )
    assert cases["annotations/class-descriptions.csv"].find("failure") is None


@pytest.mark.parametrize("seed", range(4))
def test_a_check_against_a_task_tells_what_an_import_into_it_tells(tmp_path: Path, seed: int) -> None:
    made = make_archive(seed)
    rng = Random(seed)
    frames = "".join(f"{name} {width} {height}\n" for name, (width, height) in made.frames.items())
    (tmp_path / "frames.txt").write_text(frames, encoding="utf-8")
    (tmp_path / "labels.json").write_text(json.dumps(made.labels), encoding="utf-8")
    with Desk(tmp_path / "data") as desk:
        task = desk.task(made.frames, made.labels)
        for turn in range(3):
            files = made.files if turn == 0 else spoiled(made.files, rng, softly=False)
            rules = rng.choice(["", "all", "all,-unused_class"])
            options = {**made.options, "rules": rules}
            _, report = task.send(files, **options, dry_run="true")
            paths = []
            for name, body in files.items():
                (tmp_path / name).write_bytes(body)
                paths.append(tmp_path / name)
            arguments: list[Any] = [*paths, "--json", "--rules", rules or "none"]
            arguments += ["--frames", tmp_path / "frames.txt", "--labels", tmp_path / "labels.json"]
            arguments += [
                word
                for name, value in made.options.items()
                for word in ((f"--{name.replace('_', '-')}", value) if value not in ("true", "false") else
                             (f"--{name.replace('_', '-')}",))
            ]  # fmt: skip
            checked = json.loads(check(*arguments).output)
            for part in ("problems", "counts", "tables", "n_errors", "n_warnings"):
                assert checked[part] == report[part], f"seed {seed}, turn {turn}: {part}"
