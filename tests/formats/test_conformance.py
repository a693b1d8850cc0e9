"""The conformance suite, for every format."""

from __future__ import annotations

import pytest

from app.archive import BytesSource, open_archive
from app.formats import FORMATS, Format, ImportOptions
from tests.formats import conformance
from tests.formats.builders import exported, imported, opened, read_zip, target
from tests.formats.conformance import Case
from tests.formats.memory import MemorySource

EVERY_FORMAT = pytest.mark.parametrize("one", FORMATS, ids=[one.display_name for one in FORMATS])
EVERY_CASE = pytest.mark.parametrize("case", conformance.cases(), ids=[case.carries for case in conformance.cases()])
BOTH_WAYS = [one for one in FORMATS if one.read is not None and one.write is not None]


@EVERY_FORMAT
@EVERY_CASE
def test_written_annotations_are_read_back(one: Format, case: Case) -> None:
    where = conformance.where()
    data, report = exported(MemorySource(case.annotations, where.frames), where, one, side_file=False)
    sink, problems = imported(data, where, one)
    assert problems.errors == []
    carried = case.carries in one.carries or case.carries == "nothing"
    if not carried:
        assert report.counts.get("export.unsupported", 0) > 0
        assert conformance.seen(sink.annotations()) == []
    elif case.survives:
        assert report.problems() == []
        assert conformance.seen(sink.annotations()) == conformance.seen(case.annotations)
    else:
        assert report.problems() == []
        assert len(sink.annotations().shapes) >= 3


@EVERY_FORMAT
@EVERY_CASE
def test_two_runs_give_the_same_bytes(one: Format, case: Case) -> None:
    where = conformance.where()
    first = exported(MemorySource(case.annotations, where.frames), where, one)[0]
    for batch_frames in (0, 1):
        source = MemorySource(case.annotations, where.frames, batch_frames=batch_frames)
        assert exported(source, where, one)[0] == first


@EVERY_FORMAT
def test_our_own_archives_are_accepted(one: Format) -> None:
    where = conformance.where("train")
    for case in conformance.cases():
        data, _ = exported(MemorySource(case.annotations, where.frames), where, one)
        names = open_archive(BytesSource(data)).names()
        assert one.accepts(names)
        for other in FORMATS:
            if other.read is not one.read:
                assert not other.accepts(names)


@EVERY_FORMAT
@pytest.mark.parametrize("names", [[], ["a.jpg"], ["notes.txt", "data/x.json"]])
def test_strange_archives_are_not_accepted(one: Format, names: list[str]) -> None:
    assert not one.accepts(names)


@EVERY_FORMAT
def test_images_and_labels_that_the_task_does_not_have_are_named(one: Format) -> None:
    where = conformance.where()
    data, _ = exported(MemorySource(conformance.cases()[0].annotations, where.frames), where, one)
    _, report = imported(data, target({"other.jpg": (8, 6)}, where.labels), one)
    assert {problem.code for problem in report.errors} == {"image.unmatched"}
    strange = conformance.labels("bird", "fish", "mouse")
    _, report = imported(data, target(conformance.FRAMES, strange), one)
    assert {problem.code for problem in report.errors} == {"label.unknown"}


@EVERY_FORMAT
def test_a_survey_names_what_a_task_would_have_to_hold(one: Format) -> None:
    where = conformance.where()
    data, _ = exported(MemorySource(conformance.cases()[0].annotations, where.frames), where, one)
    assert one.survey is not None
    found = one.survey(open_archive(BytesSource(data)), ImportOptions())
    sizes = zip(found.widths.tolist(), found.heights.tolist(), strict=True)
    told = dict(zip(found.images.to_texts(), sizes, strict=True))
    assert told == {"a": (8, 6), "dir/b": (13, 7), "c": (20, 20)}
    assert sorted(found.labels) == sorted(label.name for label in where.labels.labels)


@EVERY_FORMAT
def test_progress_grows_to_one_and_may_stop_the_work(one: Format) -> None:
    from app.archive import ArchiveWriter
    from app.errors import Cancelled, Report
    from app.formats import ExportOptions, ImportOptions
    from tests.formats.memory import MemorySink

    where = conformance.where()
    source = MemorySource(conformance.cases()[0].annotations, where.frames)
    told: list[float] = []
    parts: list[bytes] = []
    assert one.write is not None
    assert one.read is not None
    writer = ArchiveWriter(parts.append)
    one.write(source, where, writer, ExportOptions(), Report(), told.append)
    writer.close()
    assert told[-1] == 1.0
    assert told == sorted(told)
    told.clear()
    archive = open_archive(BytesSource(b"".join(parts)))
    one.read(archive, where, ImportOptions(), MemorySink(), Report(), told.append)
    assert told[-1] == 1.0
    assert told == sorted(told)

    def stop(_: float) -> None:
        raise Cancelled("no longer wanted")

    with pytest.raises(Cancelled):
        one.read(archive, where, ImportOptions(), MemorySink(), Report(), stop)


@EVERY_FORMAT
def test_members_of_an_export_are_safe_names(one: Format) -> None:
    where = target({"../x.jpg": (4, 4), "a b.jpg": (4, 4)}, conformance.labels("../../etc", "con"), subset="../up")
    data, _ = exported(MemorySource(conformance.cases()[0].annotations, where.frames), where, one)
    for name in read_zip(data):
        assert ".." not in name.split("/")
        assert not name.startswith("/")
    assert opened(read_zip(data)).names()
