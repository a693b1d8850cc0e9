"""Golden trees: archives as text, what they mean, and what is written back.

    golden/<format>/<case>/
        task.json          frames (name → width, height), labels (name → attribute → input type), import options
        archive/…          the archive; a PNG is drawn in `….png.txt`, `#` is the object
        annotations.json   what the reader makes of it
        export/…           what the writer makes of that, nothing edited; PNGs drawn

`python -m tests.formats.test_golden` writes annotations.json and export/ anew; look at the difference first.

    cvat-manual     the layout that CVAT's manual shows: no images.meta, the list under a name other readers do not know
    official-mix    files of V4 to V7 side by side, as downloaded: mixed prefixes, a mask smaller than its picture
    fiftyone        FiftyOne's layout
    polygons        a mask of two parts and a hole, imported as polygons
"""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.annotations import AttributeSpec, Label, LabelCatalog, ShapeType
from app.formats import Target, find_format
from tests.formats.builders import exported, good, read_zip, target
from tests.formats.memory import MemorySink, MemorySource
from tests.samples import mask_png

GOLDEN = Path(__file__).parent / "golden"
FORMATS_OF = {"open_images": "Open Images V6 1.0"}
CASES = sorted(path.parent.relative_to(GOLDEN).as_posix() for path in GOLDEN.glob("*/*/task.json"))


def png_of(drawing: str) -> bytes:
    return mask_png(np.array([[c == "#" for c in line] for line in drawing.split()], dtype=np.bool_))


def drawing_of(png: bytes) -> str:
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("L")) > 0
    return "".join("".join("#" if pixel else "." for pixel in line) + "\n" for line in pixels.tolist())


def tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes().decode()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def members_of(files: dict[str, str]) -> dict[str, str | bytes]:
    return {
        name.removesuffix(".txt") if name.endswith(".png.txt") else name: png_of(text)
        if name.endswith(".png.txt")
        else text
        for name, text in files.items()
    }


def files_of(members: dict[str, bytes]) -> dict[str, str]:
    return {
        f"{name}.txt" if name.endswith(".png") else name: drawing_of(data) if name.endswith(".png") else data.decode()
        for name, data in members.items()
    }


def load_task(folder: Path) -> tuple[Target, dict[str, Any]]:
    task = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    labels = []
    for number, (name, attributes) in enumerate(task["labels"].items(), 1):
        specs = tuple(
            AttributeSpec(100 * number + place, attribute, False, kind, "false" if kind == "checkbox" else "", ())
            for place, (attribute, kind) in enumerate(attributes.items())
        )
        labels.append(Label(number, name, "#ff0000", "any", specs))
    frames = {name: (width, height) for name, (width, height) in task["frames"].items()}
    return target(frames, LabelCatalog(tuple(labels))), task["options"]


def told(sink: MemorySink, where: Target, problems: list[str]) -> dict[str, Any]:
    """Annotations in words, for people who read the difference."""
    found = sink.annotations()
    names = {label.id: label.name for label in where.labels.labels}
    specs = {spec.id: spec.name for label in where.labels.labels for spec in label.attributes}

    def values(text: str) -> dict[str, str]:
        return {specs[item["spec_id"]]: item["value"] for item in json.loads(text)}

    shapes, tags, images, rows = found.shapes, found.tags, found.images, found.rows
    return {
        "images": [
            {
                "frame": where.frames.name(int(images.frames[n])),
                "id": images.names.row_bytes(n).decode(),
                "subset": images.subsets.row(n),
            }
            for n in range(len(images))
        ],
        "shapes": [
            {
                "frame": where.frames.name(int(shapes.frames[n])),
                "label": names[int(shapes.label_ids[n])],
                "type": ShapeType(int(shapes.types[n])).name.lower(),
                "points": [*shapes.points.row(n).tolist(), *shapes.runs.row(n).tolist()],
                "group": int(shapes.groups[n]),
                "occluded": bool(shapes.occluded[n]),
                "attributes": values(shapes.attributes.row(n)),
            }
            for n in range(len(shapes))
        ],
        "tags": [
            {
                "frame": where.frames.name(int(tags.frames[n])),
                "label": names[int(tags.label_ids[n])],
                "attributes": values(tags.attributes.row(n)),
            }
            for n in range(len(tags))
        ],
        "hidden": rows.kept.lines.to_texts(),
        "mids": sink.document["mids"],
        "warnings": problems,
    }


def work_out(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    where, options = load_task(folder)
    one = find_format(FORMATS_OF[folder.parent.name])
    sink, report = good(members_of(tree(folder / "archive")), where, one=one, **options)
    data, _ = exported(MemorySource.of_sink(sink, where.frames), where, one)
    return told(sink, where, [str(problem) for problem in report.warnings]), files_of(read_zip(data))


@pytest.mark.parametrize("case", CASES)
def test_the_archive_means_and_comes_back_as_written_down(case: str) -> None:
    folder = GOLDEN / case
    annotations, export = work_out(folder)
    assert annotations == json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
    assert export == tree(folder / "export")


def test_there_are_cases() -> None:
    assert len(CASES) >= 4


def write_expected() -> None:
    for case in CASES:
        folder = GOLDEN / case
        annotations, export = work_out(folder)
        text = json.dumps(annotations, ensure_ascii=False, indent=1) + "\n"
        (folder / "annotations.json").write_text(text, encoding="utf-8")
        shutil.rmtree(folder / "export", ignore_errors=True)
        for name, content in export.items():
            path = folder / "export" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode())


if __name__ == "__main__":
    write_expected()
