"""Small targets and archives for tests of formats."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

from app.annotations import AttributeSpec, FrameTable, Label, LabelCatalog
from app.archive import Archive, ArchiveWriter, BytesSource, open_archive
from app.columns import Texts
from app.errors import Problem, Report
from app.formats import ExportOptions, Format, ImportOptions, Source, Target, find_format
from tests.formats.memory import MemorySink, MemorySource

OPEN_IMAGES = find_format("Open Images V6 1.0")

CHECKBOXES = ("occluded", "truncated", "is_group_of", "is_depiction", "is_inside")
TEXTS = ("score", "source", "box_id", "predicted_iou")


def all_attributes(first_id: int = 100, **types: str) -> tuple[AttributeSpec, ...]:
    """Every attribute Open Images knows; `types` changes input types by name."""
    kinds = dict.fromkeys(CHECKBOXES, "checkbox") | dict.fromkeys(TEXTS, "text") | types
    return tuple(
        AttributeSpec(first_id + place, name, False, kind, "false" if kind == "checkbox" else "", ())
        for place, (name, kind) in enumerate(kinds.items())
    )


def labels(*names: str, attributes: Sequence[AttributeSpec] = ()) -> LabelCatalog:
    """Labels with ids from 1, each with the same attributes."""
    return LabelCatalog(tuple(Label(n, name, "#ff0000", "any", tuple(attributes)) for n, name in enumerate(names, 1)))


def target(frames: Mapping[str, tuple[int, int]], catalog: LabelCatalog, subset: str = "", **more: Any) -> Target:
    """Frames as name → (width, height)."""
    sizes = list(frames.values())
    table = FrameTable.build(list(frames), [w for w, _ in sizes], [h for _, h in sizes], **more)
    return Target(table, catalog, Texts.same(subset, len(table)), "the task")


def zip_of(members: Mapping[str, str | bytes]) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return body.getvalue()


def opened(members: Mapping[str, str | bytes]) -> Archive:
    return open_archive(BytesSource(zip_of(members)))


def read_zip(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def imported(
    members: Mapping[str, str | bytes] | bytes, where: Target, one: Format = OPEN_IMAGES, **options: Any
) -> tuple[MemorySink, Report]:
    """Read an archive; problems are in the report, never raised."""
    report, sink = Report(), MemorySink()
    archive = open_archive(BytesSource(members)) if isinstance(members, bytes) else opened(members)
    assert one.read is not None
    one.read(archive, where, ImportOptions(**options), sink, report, lambda done: None)
    return sink, report


def good(members: Mapping[str, str | bytes] | bytes, where: Target, **options: Any) -> tuple[MemorySink, Report]:
    """Read an archive that has no errors."""
    sink, report = imported(members, where, **options)
    assert not report.errors, "; ".join(str(problem) for problem in report.errors)
    return sink, report


def exported(source: Source, where: Target, one: Format = OPEN_IMAGES, **options: Any) -> tuple[bytes, Report]:
    """The archive of a source."""
    parts: list[bytes] = []
    report = Report()
    assert one.write is not None
    writer = ArchiveWriter(parts.append)
    one.write(source, where, writer, ExportOptions(**options), report, lambda done: None)
    writer.close()
    return b"".join(parts), report


def round_trip(members: Mapping[str, str | bytes], where: Target, **options: Any) -> dict[str, bytes]:
    """An archive in and out again, nothing edited."""
    sink, _ = good(members, where, **options)
    data, _ = exported(MemorySource.of_sink(sink, where.frames), where)
    return read_zip(data)


def places(problems: Sequence[Problem]) -> list[tuple[str, str | None, int | None, str | None]]:
    """Code, file, row, column of each problem."""
    return [(p.code, p.file, p.row, p.column) for p in problems]


def attribute_values(where: Target, label_id: int, text: str) -> dict[str, str]:
    """Attribute values by name."""
    import json

    names = {spec.id: spec.name for spec in where.labels.by_id[label_id].attributes}
    return {names[item["spec_id"]]: item["value"] for item in json.loads(text)}
