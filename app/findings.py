"""The findings of a check as people, editors and build servers read them: text, JSON, SARIF, JUnit.

SARIF 2.1.0: a run with a rule for each code, a result for each listed problem; `region` is the line and the character
where the cell begins. JUnit: a test case for each file of the archive, failed where it has errors.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from app import __version__
from app.archive import Archive
from app.errors import Problem, Report
from app.formats import RULES

OUTPUTS = ("text", "json", "sarif", "junit")
SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
MAX_LINE_BYTES = 1 << 20  # of a line in which a column is looked for
_XML_SAFE = {code: None for code in range(0x20) if code not in (0x09, 0x0A, 0x0D)} | {0xFFFE: None, 0xFFFF: None}

MEANINGS = {
    "zip.invalid": "Not a zip, cut short, or its directory cannot be read",
    "zip.encrypted": "A member is encrypted",
    "zip.unsafe_path": "A member's name is absolute, climbs out of the archive, or names a drive",
    "zip.symlink": "A member is a link or a special file",
    "zip.duplicate_member": "Two members have one name",
    "zip.bad_member": "A member's bytes do not fit its checksum or its stream is damaged",
    "zip.too_big": "A limit of size, number of members or ratio is passed",
    "layout.not_found": "The archive holds no table that is recognised",
    "layout.several_roots": "The archive holds more than one data set",
    "layout.two_versions": "A table is there in two versions",
    "csv.encoding": "A table is not UTF-8",
    "csv.nul": "A table holds a NUL character",
    "csv.quote": "A quote is never closed, or text follows a closing quote",
    "csv.no_header": "The first row names no known column",
    "csv.delimiter": "A table is separated by something else than commas",
    "csv.repeated_header": "A row is the header once more",
    "csv.missing_column": "A required column is absent",
    "csv.duplicate_column": "A column is there twice",
    "csv.field_count": "A row has more or fewer cells than the header",
    "csv.too_big": "A cell, a header, or the number of rows, classes or subsets is over its limit",
    "value.missing": "A cell is empty",
    "value.not_number": "A cell is no decimal number",
    "value.not_finite": "A number is infinite or none",
    "value.range": "A number is out of its range",
    "value.flag": "A flag is not understood",
    "value.flag_words": "Flags are written as words",
    "box.inverted": "A box ends before it begins",
    "box.outside": "A box reaches out of the picture",
    "box.empty": "A box has no width or no height",
    "image.unmatched": "An image id is that of no frame",
    "image.ambiguous": "An image id is that of several frames",
    "image.deleted": "Rows are about an image that is deleted in the task",
    "image.subset_conflict": "An image is in two subsets",
    "image.bad_subset": "A subset cannot be the name of a folder",
    "image.duplicate": "An image is listed twice",
    "image.replaced": "An earlier import says something else of an image",
    "label.unknown": "A label name is that of no label",
    "label.undeclared": "A label name is in no class file",
    "label.shared_name": "Two label names have one display name",
    "label.name_conflict": "A label name has two display names",
    "label.passed_over": "Rows of a label are passed over, as asked",
    "map.unknown": "A mapping names what does not exist",
    "map.unused": "A mapping is of no use",
    "mask.missing_file": "The PNG of a mask is not in the archive",
    "mask.ambiguous_file": "The PNG of a mask is in the archive more than once",
    "mask.bad_png": "The PNG of a mask cannot be read",
    "mask.bad_path": "MaskPath is no plain file name",
    "mask.bad_box_id": "BoxID is no plain name",
    "mask.not_binary": "A mask is no picture of two grey levels",
    "mask.resized": "A mask has another size than its frame",
    "mask.aspect": "A mask has another shape than its frame",
    "mask.empty": "A mask has no pixel",
    "mask.unreferenced": "No row names a mask file",
    "mask.box_partial": "Some of a mask's four box cells are empty",
    "mask.box_unlinked": "The box that a mask names is not there",
    "mask.too_complex": "A mask is too complex to be traced",
    "meta.bad_line": "A line of images.meta is no id and two sizes",
    "meta.incomplete": "images.meta lacks images that need a size",
    "meta.size_differs": "images.meta has another size than the frame",
    "hierarchy.bad_json": "The hierarchy is no JSON",
    "hierarchy.bad_node": "A node of the hierarchy has no LabelName, or is no object",
    "hierarchy.too_big": "The hierarchy is over its limits",
    "hierarchy.unknown_label": "The hierarchy names an unknown class",
    "file.kept": "A file is not interpreted; it is kept",
    "row.duplicate": "A row is there twice, word for word",
    "tag.negative_hidden": "A label is verified absent and has no attribute to say so",
    "attribute.no_value": "An attribute cannot take a cell's value",
    "attribute.undeclared": "Values of an attribute that the label does not declare",
    "extra.ignored": "Entries of the side file do not fit their rows",
    "group.no_room": "Numbers of groups are used up",
    "point.outside": "A point lies outside of the picture",
    "relationship.unlinked": "A relationship names a box that is not there",
    "narrative.bad_line": "A line of narratives cannot be read",
    "selection.unknown": "A selection names what does not exist",
    "selection.empty": "Nothing is selected",
    **{f"rule.{name}": meaning[0].upper() + meaning[1:] for name, meaning in RULES.items()},
}
"""What each code means, in one sentence."""


def write_text(report: Report) -> str:
    lines = []
    for problem in report.problems():
        hint = f" ({problem.suggestion})" if problem.suggestion else ""
        lines.append(f"{problem.severity}: {problem}{hint}")
    listed: dict[str, int] = {}
    for problem in report.problems():
        listed[problem.code] = listed.get(problem.code, 0) + 1
    lines += [
        f"{code}: {count - listed.get(code, 0)} more"
        for code, count in sorted(report.counts.items())
        if count > listed.get(code, 0)
    ]
    lines += [
        f"{name}: {count.seen} rows, {count.kept} kept, {count.changed} changed, {count.dropped} dropped"
        for name, count in report.tables.items()
    ]
    lines.append(_totals(report))
    return "\n".join(lines) + "\n"


def write_json(report: Report) -> str:
    return json.dumps(report.to_dict(), indent=2, ensure_ascii=False) + "\n"


# --- SARIF ---


def write_sarif(report: Report, names: Sequence[str], columns: Mapping[Problem, int], failed: bool) -> str:
    """Args:
    names: of the files that were checked.
    columns: the character (from 1) where the cell of a problem begins.
    """
    codes = sorted(report.counts)
    run: dict[str, Any] = {
        "tool": {
            "driver": {
                "name": "annoport",
                "version": __version__,
                "semanticVersion": __version__,
                "rules": [_sarif_rule(code, report) for code in codes],
            }
        },
        "invocations": [{"executionSuccessful": True, "exitCode": int(failed)}],
        "columnKind": "unicodeCodePoints",
        "results": [
            _sarif_result(problem, codes.index(problem.code), names[0], columns.get(problem))
            for problem in report.problems()
        ],
        "properties": {"counts": dict(sorted(report.counts.items())), "archive": list(names)},
    }
    return json.dumps({"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False) + "\n"


def _sarif_rule(code: str, report: Report) -> dict[str, Any]:
    severities = {problem.severity for problem in report.problems() if problem.code == code}
    meaning = MEANINGS.get(code, code.replace(".", ": ").replace("_", " "))
    return {
        "id": code,
        "name": "".join(word.capitalize() for word in code.replace(".", "_").split("_")),
        "shortDescription": {"text": meaning},
        "defaultConfiguration": {"level": "error" if "error" in severities else "warning"},
    }


def _sarif_result(problem: Problem, rule: int, archive: str, column: int | None) -> dict[str, Any]:
    """A problem of no file is one of the archive itself."""
    place: dict[str, Any] = {"artifactLocation": {"uri": quote(problem.file or PurePath(archive).name)}}
    if problem.row is not None:
        place["region"] = {"startLine": problem.row, **({"startColumn": column} if column is not None else {})}
    location: dict[str, Any] = {"physicalLocation": place}
    if problem.column is not None:
        location["logicalLocations"] = [{"name": problem.column, "kind": "member"}]
    hint = f" ({problem.suggestion})" if problem.suggestion else ""
    return {
        "ruleId": problem.code,
        "ruleIndex": rule,
        "level": problem.severity,
        "message": {"text": problem.message + hint},
        "locations": [location],
        "properties": {"value": problem.value} if problem.value is not None else {},
    }


def find_columns(archive: Archive, problems: Iterable[Problem]) -> dict[Problem, int]:
    """The character, from 1, where the cell of each problem begins in its line; only what is sure."""
    wanted: dict[str, list[Problem]] = {}
    for problem in problems:
        if problem.file is not None and problem.row is not None and problem.column is not None:
            wanted.setdefault(problem.file, []).append(problem)
    found: dict[Problem, int] = {}
    for path, some in wanted.items():
        entry = archive.find(path)
        if entry is None or not path.lower().endswith(".csv"):
            continue
        lines = _lines(archive.blocks(entry), {1, *(problem.row for problem in some if problem.row is not None)})
        header = _cells(lines.get(1, ""))
        names = [text.strip().casefold() for text, _ in header]
        for problem in some:
            cells = _cells(lines.get(problem.row or 0, ""))
            name = (problem.column or "").strip().casefold()
            if name in names and len(cells) == len(header):
                found[problem] = cells[names.index(name)][1] + 1
    return found


def _lines(blocks: Iterator[bytes], numbers: set[int]) -> dict[int, str]:
    """Some physical lines of a text, counted as an editor does: LF, CR LF and CR each end one."""
    found: dict[int, str] = {}
    number, line, last = 1, bytearray(), max(numbers)
    ended_by_return = False
    for block in blocks:
        if ended_by_return and block.startswith(b"\n"):
            block = block[1:]
        ended_by_return = block.endswith(b"\r")
        pieces = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for place, piece in enumerate(pieces):
            if number in numbers and len(line) < MAX_LINE_BYTES:
                line += piece
            if place < len(pieces) - 1:
                if number in numbers:
                    found[number] = line.decode("utf-8-sig", "replace")
                number, line = number + 1, bytearray()
        if number > last:
            return found
    if number in numbers:
        found[number] = line.decode("utf-8-sig", "replace")
    return found


def _cells(line: str) -> list[tuple[str, int]]:
    """The cells of a record that is one line, and where each begins."""
    try:
        cells = next(csv.reader(io.StringIO(line, newline=""), strict=True), [])
    except csv.Error:
        return []
    places, at, quoted = [0], 0, False
    for at, character in enumerate(line):
        if character == '"':
            quoted = not quoted
        elif character == "," and not quoted:
            places.append(at + 1)
    return list(zip(cells, places, strict=True)) if len(cells) == len(places) else []


# --- JUnit ---


def write_junit(report: Report, names: Sequence[str]) -> str:
    """A suite of the archive: a case for each table and each file with a problem, and one for the archive itself."""
    files = dict.fromkeys([*report.tables, *(problem.file for problem in report.problems() if problem.file)])
    cases = {name: [problem for problem in report.problems() if problem.file == name] for name in files}
    cases = {"archive": [problem for problem in report.problems() if problem.file is None], **cases}
    unlisted = {
        code: count - sum(problem.code == code for problem in report.problems())
        for code, count in report.counts.items()
    }
    n_failed = sum(any(problem.severity == "error" for problem in problems) for problems in cases.values())
    numbers = {"tests": str(len(cases)), "failures": str(n_failed), "errors": "0", "skipped": "0"}
    suites = ElementTree.Element("testsuites", {"name": "annoport check", **numbers})
    suite = ElementTree.SubElement(suites, "testsuite", {"name": _xml(", ".join(names)), **numbers})
    for name, problems in cases.items():
        case = ElementTree.SubElement(suite, "testcase", {"classname": "annoport.check", "name": _xml(name)})
        errors = [problem for problem in problems if problem.severity == "error"]
        warnings = [problem for problem in problems if problem.severity == "warning"]
        if errors:
            more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
            about = {"type": errors[0].code, "message": _xml(f"{errors[0]}{more}")}
            failure = ElementTree.SubElement(case, "failure", about)
            failure.text = _xml("\n".join(str(problem) for problem in errors))
        if warnings:
            output = ElementTree.SubElement(case, "system-out")
            output.text = _xml("\n".join(f"warning: {problem}" for problem in warnings))
    rest = [f"{code}: {count} more" for code, count in sorted(unlisted.items()) if count > 0]
    summary = ElementTree.SubElement(suite, "system-out")
    summary.text = _xml("\n".join([_totals(report), *rest]))
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _xml(text: str) -> str:
    """What XML can hold of a text."""
    return text.translate(_XML_SAFE).encode("utf-8", "replace").decode()


def _totals(report: Report) -> str:
    pairs = ((report.n_errors, "error"), (report.n_warnings, "warning"))
    return ", ".join(f"{n} {word}{'s' * (n != 1)}" for n, word in pairs)
