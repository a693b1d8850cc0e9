"""Open Images archives at random, as they are found in the wild: every version, layout and dialect, by a seed.

`make_archive(seed)` builds one with plain loops and remembers what it wrote, cell by cell; `differences` holds an
export against that memory and tells everything that is not as it was, but for what a round trip may change: row order,
line ends, quoting and names of tables; repeats in image lists; an empty BoxID; and what other readers refuse (an empty
Confidence, flags in words).
"""

from __future__ import annotations

import csv
import io
import json
import random
import shlex
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.samples import BOX_FIELDS, CHECKBOXES, IMAGE_FIELDS, MASK_FIELDS, TAG_FIELDS, mask_png

Row = dict[str, str]
CLICKS = [f"XClick{corner}{axis}" for axis in "XY" for corner in "1234"]
FIELDS = {"images": IMAGE_FIELDS, "boxes": BOX_FIELDS, "tags": TAG_FIELDS, "machine": TAG_FIELDS, "masks": MASK_FIELDS}
NAMES = {
    "images": "images-with-rotation",
    "boxes": "annotations-bbox",
    "tags": "annotations-human-imagelabels",
    "machine": "annotations-machine-imagelabels",
    "masks": "annotations-object-segmentation",
}
FLAGS = ("IsOccluded", "IsTruncated", "IsGroupOf", "IsDepiction", "IsInside")
WORDS = {"true": "1", "false": "0", "yes": "1", "no": "0", "": "-1"}
CLASSES = [
    ("/m/01yrx", "Cat"),
    ("/m/0bt9lr", "Dog"),
    ("/m/02wvth", 'Fiat 500 "topolino"'),
    ("/m/0k4j", "Car, large"),
    ("/g/11b7", "Straße"),
    ("/m/none", "Nobody's"),
]
KINDS = ("V4", "V5", "V6", "V7", "mixed", "cvat", "datumaro", "fiftyone", "flat")
ODD_TEXTS = ["", "x", 'a "b"', "c, d", "über\nline", "日本", "  blank ", "'", "=1+1", "0"]


@dataclass
class Table:
    """One table as it was written: rows with the columns of its header."""

    kind: str
    subset: str | None
    path: str
    columns: list[str]
    rows: list[Row] = field(default_factory=list)


@dataclass
class Made:
    """An archive and everything that was put into it.

    Attributes:
        files: what to send, by file name.
        frames: of the task, name → (width, height); subset_of: image id → subset.
        tables: rows of images of the task; others are passed over.
        pngs: MaskPath → bytes, of rows; kept: path → bytes, of everything that nobody interprets.
        options: of the import.
    """

    kind: str
    files: dict[str, bytes]
    frames: dict[str, tuple[int, int]]
    labels: list[dict[str, Any]]
    tables: list[Table]
    subset_of: dict[str, str]
    classes: list[tuple[str, str]]
    hierarchy: str | None
    pngs: dict[str, bytes]
    kept: dict[str, bytes]
    options: dict[str, str]


class _Maker:
    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.kind = self.rng.choice(KINDS)
        self.members: dict[str, bytes] = {}
        self.mask_files: dict[str, bytes] = {}  # below the masks' folder or zip
        self.tables: list[Table] = []
        self.pngs: dict[str, bytes] = {}
        self.kept: dict[str, bytes] = {}
        self.options: dict[str, str] = {}
        self.shared = ""

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    # --- the task ---

    def ids(self) -> None:
        rng = self.rng
        found = {f"{rng.getrandbits(64):016x}" for _ in range(rng.randint(1, 5))}
        if self.chance(0.3):
            found.add(f"{rng.randint(0, 10):016d}")
        if self.kind in ("cvat", "datumaro", "flat"):
            found |= set(
                rng.sample(["plain", "with blank", "a,b", "it's", 'quo"te', "dir/c", "日本", "7"], rng.randint(0, 4))
            )
        self.all_ids = sorted(found)
        rng.shuffle(self.all_ids)
        self.aliens = []
        if self.chance(0.25):
            self.aliens = [f"{rng.getrandbits(64):016x}" for _ in range(2)]
            self.options["unmatched"] = "skip"
        folder = rng.choice(["", "", "some/where/"]) if self.kind not in ("cvat", "datumaro", "flat") else ""
        self.frames = {
            f"{folder}{name}.{rng.choice(['jpg', 'png'])}": (rng.randint(1, 40), rng.randint(1, 40))
            for name in self.all_ids
        }
        self.size_of = dict(zip(self.all_ids, self.frames.values(), strict=True))
        self.full_names = dict(zip(self.all_ids, self.frames, strict=True))
        one = self.kind in ("cvat", "datumaro") or self.chance(0.3)
        subsets = [rng.choice(["default", "train", "my-set"])] if one else ["train", "validation", "test"]
        self.subset_of = {name: rng.choice(subsets) for name in [*self.all_ids, *self.aliens]}
        self.subsets = sorted(set(self.subset_of.values()))

    def make_labels(self) -> None:
        rng = self.rng
        self.used = rng.sample(CLASSES[:-1], rng.randint(1, 4))
        self.by_name = self.kind in ("cvat", "datumaro") and self.chance(0.5)
        self.labels = []
        for mid, name in self.used:
            attributes: list[dict[str, Any]] = []
            for flag in CHECKBOXES:
                if self.chance(0.5):
                    kind = rng.choice(["checkbox", "checkbox", "text", "number", "select"])
                    values = {
                        "checkbox": ["false"],
                        "text": [""],
                        "number": ["0", "1", "1"],
                        "select": ["false", "true"],
                    }
                    attributes.append({"name": flag, "mutable": False, "input_type": kind, "values": values[kind]})
            for text in ("score", "source", "box_id", "predicted_iou"):
                if self.chance(0.4):
                    attributes.append({"name": text, "mutable": False, "input_type": "text", "values": [""]})
            shown = name if self.by_name or not self.chance(0.2) else mid
            self.labels.append({"name": shown, "attributes": attributes})
        self.names = [name if self.by_name else mid for mid, name in self.used]

    # --- cells ---

    def share(self) -> str:
        rng, value = self.rng, self.rng.random()
        return rng.choice(
            [
                f"{value:.6f}",
                f"{value:.4f}".rstrip("0"),
                repr(value),
                f"{value:.2f}",
                "0",
                "1",
                "0.0",
                "1.000000",
                f"{value:.2e}",
            ]
        )

    def span(self) -> tuple[str, str]:
        low, high = sorted([self.share(), self.share()], key=float)
        return low, high

    def flag(self) -> str:
        return self.rng.choice(
            ["0", "1", "0", "1", "-1", "-1", *([] if self.kind in KINDS[:5] else ["true", "False", "1.0", ""])]
        )

    def extra(self) -> str:
        return self.rng.choice([*ODD_TEXTS, f"{self.rng.random():.3f}"])

    # --- tables ---

    def place(self, base: str, subset: str | None) -> str:
        """Where a file lies in this layout."""
        if self.kind in ("cvat", "datumaro"):
            return f"annotations/{base}"
        if self.kind == "V4":
            return f"2018_04/{subset}/{base}" if subset else f"2018_04/{base}"
        if self.kind == "mixed" and self.nested:
            return f"oid/{self.rng.choice(['a', 'b', 'c/d'])}/{base}"
        return base

    def base_name(self, kind: str, subset: str) -> str:
        rng, new = self.rng, self.kind in ("V6", "V7", "mixed")
        if kind == "images":
            names = [f"{subset}-images-with-rotation.csv", f"{subset}-images-boxable-with-rotation.csv"]
            names += [f"{subset}-images.csv", f"{subset}-images-with-labels-with-rotation.csv"]
            names += [f"oidv6-{subset}-images-with-labels-with-rotation.csv"] if new else []
            return rng.choice(names)
        if kind == "boxes":
            return (
                f"oidv6-{subset}-annotations-bbox.csv"
                if new and subset == "train"
                else f"{subset}-annotations-bbox.csv"
            )
        if kind in ("tags", "machine"):
            base = NAMES[kind] + ("-boxable" if kind == "tags" and self.chance(0.3) else "")
            if self.kind == "V7" or (self.kind == "mixed" and self.chance(0.5)):
                return f"oidv7-{'val' if subset == 'validation' and self.may_say_val else subset}-{base}.csv"
            return f"{subset}-{base}.csv"
        return f"{subset}-{NAMES[kind]}.csv"

    def columns(self, kind: str) -> list[str]:
        rng = self.rng
        found = list(FIELDS[kind])
        if kind == "images" and self.chance(0.3):
            found.remove("Rotation")
        if kind == "boxes" and (self.kind in ("V6", "V7") or self.chance(0.3)):
            found += CLICKS
        if self.chance(0.2):
            found += rng.sample(["Note", "my column", "XTL", "Grade,1"], rng.randint(1, 2))
        if self.chance(0.2):
            rng.shuffle(found)
        optional = {
            "boxes": ["Source", "Confidence", *FLAGS],
            "tags": ["Source"],
            "masks": ["Clicks", "PredictedIoU", "BoxID"],
        }
        if kind in optional and self.chance(0.15):
            found.remove(rng.choice(optional[kind]))
        return found

    def row(self, kind: str, image: str) -> Row:
        rng = self.rng
        row: Row = {"ImageID": image, "LabelName": rng.choice(self.names)}
        if kind == "images":
            texts = {name: self.extra() for name in IMAGE_FIELDS[2:-1]}
            return {**row, "Subset": self.subset_of[image], **texts, "Rotation": rng.choice(["0.0", "90.0", "nan", ""])}
        if kind in ("tags", "machine"):
            sources = ["machine"] if kind == "machine" else ["verification", "crowdsource-verification", ""]
            return {
                **row,
                "Source": rng.choice(sources),
                "Confidence": rng.choice(["1", "0", "0.7", "1.0", "0.50", ""]),
            }
        (x0, x1), (y0, y1) = self.span(), self.span()
        if kind == "masks":
            return self.mask_row(row, image)
        row |= {
            "XMin": x0,
            "XMax": x1,
            "YMin": y0,
            "YMax": y1,
            "Source": rng.choice(["xclick", "activemil", "freeform", ""]),
        }
        row |= {"Confidence": rng.choice(["1", "1", "0.5", "1.0", ""])} | {name: self.flag() for name in FLAGS}
        return row | {name: "-1.000000" if row["Source"] == "activemil" else self.share() for name in CLICKS}

    def mask_row(self, row: Row, image: str) -> Row:
        rng = self.rng
        number = len(self.pngs) + len(self.kept)
        box_id = rng.choice([f"{rng.getrandbits(32):08x}", f"{number:08d}", ""])
        safe = "".join(c for c in image if c.isalnum() and c.isascii())
        label = "".join(c for c in row["LabelName"] if c not in '/"')
        path = rng.choice([f"{safe}_{label}_{number}.png", f"mask {number}.png"])
        width, height = self.size_of.get(image, (9, 9))
        if self.chance(0.5):
            width, height = rng.randint(1, 60), rng.randint(1, 60)
        pixels = np.random.default_rng(rng.getrandbits(32)).random((height, width)) < rng.choice([0.0, 0.1, 0.6, 1.0])
        png = mask_png(pixels, kind=rng.choice(["bit", "zero-one", "grey"]))
        if self.shared and self.chance(0.1):
            path = self.shared  # two rows name one file
        else:
            self.pngs[path] = self.mask_files[path] = png
        self.shared = path if image not in self.aliens else ""
        cells = ["", "", "", ""]
        boxes = [r for table in self.tables if table.kind == "boxes" for r in table.rows if r["ImageID"] == image]
        boxes = [r for r in boxes if r["LabelName"] == row["LabelName"]]
        if boxes and self.chance(0.7):
            linked = rng.choice(boxes)
            cells = [linked[name] for name in ("XMin", "XMax", "YMin", "YMax")]
        elif self.chance(0.3):
            cells = [*self.span(), *self.span()]
        if self.chance(0.1):
            cells[rng.randrange(4)] = ""
        row |= dict(zip(("BoxXMin", "BoxXMax", "BoxYMin", "BoxYMax"), cells, strict=True))
        clicks = ";".join(
            f"{rng.random():.4f} {rng.random():.4f} {rng.randint(0, 1)}" for _ in range(rng.randint(0, 3))
        )
        iou = rng.choice(["", f"{rng.random():.5f}", "1", "0.50000"])
        return row | {"MaskPath": path, "BoxID": box_id, "PredictedIoU": iou, "Clicks": clicks}

    def add_table(self, kind: str, subset: str | None, path: str, images: Sequence[str], most: int) -> None:
        columns = self.columns(kind)
        table = Table(kind, subset, path, columns)
        self.tables.append(table)
        written = []
        for image in images:
            for _ in range(1 if kind == "images" else self.rng.randint(0, most)):
                row = self.row(kind, image) | {name: self.extra() for name in columns if name not in _KNOWN}
                row = {name: row[name] for name in columns}
                if kind in ("boxes", "tags") and image in self.full_names and self.chance(0.05):
                    row["ImageID"] = self.full_names[image]
                written.append(row)
                if image not in self.aliens:
                    table.rows.append(row)
                if kind == "images" and self.chance(0.1):
                    written.append(row)  # an exact repeat
        if kind != "images" and self.chance(0.3):
            order = list(range(len(written)))
            self.rng.shuffle(order)
            written = [written[place] for place in order]
        self.members[path] = self.text(columns, written)

    def text(self, columns: Sequence[str], rows: Sequence[Row], header: bool = True) -> bytes:
        """A CSV file in a dialect of its own."""
        rng, body = self.rng, io.StringIO()
        end = "\r\n" if self.kind == "datumaro" else rng.choice(["\n", "\n", "\n", "\r\n", "\r"])
        quoting = rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
        if end == "\r":
            quoting = csv.QUOTE_ALL  # else the writer leaves a lone line feed within a cell unquoted
        writer = csv.writer(body, lineterminator=end, quoting=quoting)
        if header:
            lower = self.chance(0.1)
            writer.writerow([name.lower() if lower and name in _KNOWN else name for name in columns])
        for row in rows:
            writer.writerow([row[name] for name in columns])
            if self.chance(0.02):
                body.write(end)
        found = body.getvalue()
        if rows and self.chance(0.1):
            found = found.removesuffix(end)
        return (b"\xef\xbb\xbf" if self.chance(0.1) else b"") + found.encode()

    def write_tables(self) -> None:
        everything = [*self.all_ids, *self.aliens]
        by_subset = {subset: [name for name in everything if self.subset_of[name] == subset] for subset in self.subsets}
        self.nested = self.chance(0.5)
        one_list = self.kind == "fiftyone" or self.chance(0.2)
        self.may_say_val = True
        if one_list:
            path = (
                "metadata/image_ids.csv" if self.kind == "fiftyone" else self.place("image_ids_and_rotation.csv", None)
            )
            self.add_table("images", None, path, everything, 1)
        elif self.kind in ("cvat", "datumaro"):
            for subset, images in by_subset.items():
                base = (
                    f"{subset}-images-with-rotation.csv" if self.chance(0.7) else f"{subset}-image_ids_and_rotation.csv"
                )
                self.add_table("images", subset, self.place(base, subset), images, 1)
        else:
            for subset, images in by_subset.items():
                if self.chance(0.8):
                    self.add_table("images", subset, self.place(self.base_name("images", subset), subset), images, 1)
        for kind, most in (("boxes", 3), ("masks", 2), ("tags", 3), ("machine", 2)):
            if kind == "machine" and not (self.kind in ("V4", "V6", "V7") and self.chance(0.5)):
                continue
            if self.kind == "fiftyone":
                name = {"boxes": "detections", "masks": "segmentations", "tags": "classifications"}[kind]
                self.add_table(kind, None, f"labels/{name}.csv", everything, most)
                continue
            if kind == "masks" and one_list and self.chance(0.3):
                self.add_table(kind, None, self.place("masks_data.csv", None), everything, most)
                continue
            for subset, images in by_subset.items():
                if self.chance(0.85):
                    self.add_table(kind, subset, self.place(self.base_name(kind, subset), subset), images, most)
        machines = [table for table in self.tables if table.kind == "machine"]
        if machines and self.chance(0.6):
            self.options["machine_labels"] = "tags"
        else:
            for table in machines:
                self.tables.remove(table)
                self.kept[table.path] = self.members[table.path]
        if self.chance(0.3):
            self.options["conv_mask_to_poly"] = "true"

    def told_subsets(self) -> dict[str, str]:
        """The subset of each image, under each of its names; `default` where no row tells one."""
        told = {row["ImageID"] for table in self.tables for row in table.rows}
        found: dict[str, str] = {}
        for name, full_name in self.full_names.items():
            subset = self.subset_of[name] if {name, full_name} & told else "default"
            found |= {name: subset, full_name: subset}
        return found

    # --- the rest ---

    def write_classes(self) -> None:
        rng = self.rng
        self.classes = [(name, name) for _, name in self.used] if self.by_name else list(CLASSES)
        rng.shuffle(self.classes)
        header = rng.choice([None, ["LabelName", "DisplayName"], ["id", "name"], ["MID", "ClassName"]])
        if self.kind in ("V4", "V5", "cvat", "datumaro", "fiftyone"):
            header = None
        end = rng.choice(["\n", "\r\n"])
        body = io.StringIO()
        writer = csv.writer(body, lineterminator=end)
        if header:
            writer.writerow(header)
        ragged = self.kind == "V7" and header and self.chance(0.5)
        further = [["3", "cat", "tom"][: rng.randint(0, 3)] if ragged else [] for _ in self.classes]
        writer.writerows([mid, name, *more] for (mid, name), more in zip(self.classes, further, strict=True))
        new = {"V6": "oidv6-", "V7": "oidv7-"}.get(self.kind, "")
        base = f"{new}class-descriptions{rng.choice(['', '-boxable'])}.csv"
        path = "metadata/classes.csv" if self.kind == "fiftyone" else self.place(base, None)
        self.members[path] = (b"\xef\xbb\xbf" if self.chance(0.1) else b"") + body.getvalue().encode()
        if any(further):
            self.kept[path] = self.members[path]  # what it says beside names is written back as it came
        self.hierarchy = None
        if self.chance(0.7):
            leaves = [{"LabelName": mid, "Part": [{"LabelName": self.classes[0][0]}]} for mid, _ in self.classes]
            tree = {"LabelName": "/m/0bl9f", "Subcategory": leaves}
            self.hierarchy = json.dumps(tree, indent=rng.choice([None, 1]), ensure_ascii=self.chance(0.5))
            base = (
                "metadata/hierarchy.json"
                if self.kind == "fiftyone"
                else self.place("bbox_labels_600_hierarchy.json", None)
            )
            self.members[base] = self.hierarchy.encode()
        if self.kind in ("cvat", "datumaro") and self.chance(0.7):
            lines = [f"{shlex.quote(name)} {height} {width}\n" for name, (width, height) in self.size_of.items()]
            self.members["annotations/images.meta"] = "".join(lines).encode()

    def write_kept(self) -> None:
        rng = self.rng
        some = {
            "README.md": b"# hello\n",
            "deep/notes.bin": rng.randbytes(50),
            "classes-trainable.txt": b"/m/01yrx\n",
            "oidv6-relationship-triplets.csv": b"LabelName1,LabelName2,RelationshipLabel\r\n/m/1,/m/2,at\r\n",
            "annotations/dataset_meta.json": b"{}",
            "other.zip": _zip({"x": b"y"}, rng),
            "empty.txt": b"",
        }
        for name in rng.sample(sorted(some), rng.randint(0, 4)):
            self.kept[name] = self.members[name] = some[name]
        for name in rng.sample(["__MACOSX/._x", ".DS_Store", "images/Thumbs.db"], rng.randint(0, 1)):
            self.members[name] = b"clutter"
        if self.chance(0.2):
            for name in list(self.frames)[:2]:
                self.members[f"images/{name}"] = b"no picture is opened"

    def place_masks(self) -> dict[str, bytes]:
        """Into a folder, or the official zips inside or beside; the files that are sent beside the upload."""
        rng = self.rng
        row_of: dict[str, str] = {}
        for table in self.tables:
            if table.kind == "masks":
                row_of |= {row["MaskPath"]: row["ImageID"] for row in table.rows}
        subset_of = {path: self.subset_of[row_of[path]] for path in self.mask_files if path in row_of}
        if self.chance(0.4):
            name = f"nobody {rng.randint(0, 9)}.png"
            self.mask_files[name] = b"no picture at all"
            subset_of[name] = self.subsets[0]
        else:
            name = ""
        way = (
            "fiftyone"
            if self.kind == "fiftyone"
            else rng.choice(["masks/subset", "masks", "official", "inside", "beside"])
        )
        zips: dict[str, dict[str, bytes]] = {}
        for path, data in self.mask_files.items():
            subset = subset_of.get(path, self.subsets[0])
            letter = rng.choice("0123456789abcdef")
            folder = {
                "masks/subset": f"masks/{subset}/",
                "masks": "masks/",
                "fiftyone": f"labels/masks/{letter.upper()}/",
            }.get(way, f"{subset}-masks-{letter}/")
            if way in ("inside", "beside"):
                zips.setdefault(f"{folder[:-1]}.zip", {})[path] = data
            else:
                self.members[folder + path] = data
            if path == name:
                self.kept[folder + path] = data
        if self.aliens:  # their rows and PNGs are passed over
            self.pngs = {path: png for path, png in self.pngs.items() if path in row_of}
        packed = {zip_name: _zip(content, rng) for zip_name, content in zips.items()}
        if way == "inside":
            self.members |= packed
            return {}
        return packed


_KNOWN = {*IMAGE_FIELDS, *BOX_FIELDS, *TAG_FIELDS, *MASK_FIELDS, *CLICKS}


def _zip(members: Mapping[str, bytes], rng: random.Random) -> bytes:
    body = io.BytesIO()
    method = rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    with zipfile.ZipFile(body, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)  # not of now: a seed gives the same bytes always
    return body.getvalue()


def make_archive(seed: int) -> Made:
    maker = _Maker(seed)
    maker.ids()
    maker.make_labels()
    return _written(maker)


def make_archives(seed: int, count: int) -> list[Made]:
    """Several archives about one task: its frames and labels, and tables that have nothing to do with each other."""
    first = _Maker(seed)
    first.ids()
    first.make_labels()
    found = []
    for number in range(count):
        maker = _Maker(seed * 1000 + number)
        odd_ids = ("cvat", "datumaro", "flat")  # of these kinds alone
        if first.kind in odd_ids or maker.kind in odd_ids:
            maker.kind = first.kind
        for name in ("all_ids", "aliens", "frames", "size_of", "full_names", "labels", "used", "names", "by_name"):
            setattr(maker, name, getattr(first, name))
        maker.options |= first.options
        subsets = first.subsets if first.kind in odd_ids else ["train", "validation", "test"]
        is_same = number == 0 or maker.chance(0.6)
        maker.subset_of = {
            name: first.subset_of[name] if is_same else maker.rng.choice(subsets) for name in first.subset_of
        }
        maker.subsets = sorted(set(maker.subset_of.values()))
        found.append(_written(maker))
    return found


def _written(maker: _Maker) -> Made:
    maker.write_tables()
    maker.write_classes()
    beside = maker.place_masks()
    maker.write_kept()
    order = list(maker.members)
    maker.rng.shuffle(order)
    members = {name: maker.members[name] for name in order}
    files = {"upload.zip": _zip(members, maker.rng), **beside}
    return Made(
        maker.kind,
        files,
        maker.frames,
        maker.labels,
        maker.tables,
        maker.told_subsets(),
        maker.classes,
        maker.hierarchy,
        maker.pngs,
        maker.kept,
        maker.options,
    )


# --- holding an export against it ---


def read_rows(data: bytes) -> tuple[list[str], list[Row]]:
    rows = [row for row in csv.reader(io.StringIO(data.decode(), newline="")) if row]
    return rows[0], [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def wanted_row(kind: str, row: Row, columns: Sequence[str], subset: str) -> Row:
    """What a row must look like in an exported table with these columns; None in a cell: anything but nothing."""
    wanted = {}
    for name in columns:
        cell = row.get(name)
        if cell is None:
            cell = {"Confidence": "1"}.get(name, "-1" if name in CLICKS else "")
        if name in FLAGS:
            cell = cell.strip().lower()
            cell = WORDS.get(cell, cell.removesuffix(".0"))
        elif name == "Confidence" and not cell:
            cell = "1"
        elif name == "Subset":
            cell = cell or subset
        wanted[name] = cell
    return wanted


def differences(made: Made, members: Mapping[str, bytes]) -> list[str]:
    """Everything in an export (default layout) that is not as it was, in words."""
    told: list[str] = []
    expected = {f"masks/{made.subset_of[image]}/{path}" for path, image in _images_of_masks(made)}
    subsets = sorted(set(made.subset_of.values()))
    for kind in FIELDS:
        for subset in subsets:
            told += _table_differences(made, members, kind, subset)
            if any(rows for _, rows in _rows_of(made, kind, subset)) or kind == "images":
                expected.add(f"annotations/{subset}-{NAMES[kind]}.csv")
    for path, image in sorted(_images_of_masks(made)):
        if members.get(f"masks/{made.subset_of[image]}/{path}") != made.pngs[path]:
            told.append(f"mask {path} is missing or has other bytes")
    for path, data in made.kept.items():
        if members.get(path) != data:
            told.append(f"kept file {path} is missing or has other bytes")
    classes = [tuple(row) for row in csv.reader(io.StringIO(members["annotations/class-descriptions.csv"].decode()))]
    if classes[: len(made.classes)] != made.classes:
        told.append(f"classes {classes} instead of {made.classes}")
    if made.hierarchy is not None and members["annotations/bbox_labels_600_hierarchy.json"].decode() != made.hierarchy:
        told.append("another hierarchy")
    sizes = [shlex.split(line) for line in members["annotations/images.meta"].decode().splitlines()]
    if sorted((int(w), int(h)) for _, h, w, *_ in sizes[: len(made.frames)]) != sorted(made.frames.values()):
        told.append("other sizes")
    expected |= {f"annotations/{subset}-image_ids_and_rotation.csv" for subset in subsets} | set(made.kept)
    expected |= {f"annotations/{name}" for name in ("class-descriptions.csv", "bbox_labels_600_hierarchy.json")}
    expected |= {"annotations/images.meta"}
    more = set(members) - expected - {"annotations/oid_extra.json"}
    if more or expected - set(members):
        told.append(f"members: more {sorted(more)}, missing {sorted(expected - set(members))}")
    return told


def _images_of_masks(made: Made) -> set[tuple[str, str]]:
    """(MaskPath, image id): two rows may name one file, of one image or of several."""
    masks = [table for table in made.tables if table.kind == "masks"]
    return {(row["MaskPath"], row["ImageID"]) for table in masks for row in table.rows}


def _rows_of(made: Made, kind: str, subset: str) -> list[tuple[Table, list[Row]]]:
    """The rows of a subset, by table."""
    tables = [table for table in made.tables if table.kind == kind]
    return [(table, [row for row in table.rows if made.subset_of[row["ImageID"]] == subset]) for table in tables]


def _table_differences(made: Made, members: Mapping[str, bytes], kind: str, subset: str) -> list[str]:
    name = f"annotations/{subset}-{NAMES[kind]}.csv"
    parts = _rows_of(made, kind, subset)
    rows = [row for _, some in parts for row in some]
    if name not in members:
        return [f"{name} is missing"] if rows else []
    data = members[name]
    told = []
    if b"\r" in data.replace(b'"', b"") and not any("\r" in cell for row in rows for cell in row.values()):
        told.append(f"{name} has line ends of another system")
    columns, found = read_rows(data)
    if columns[: len(FIELDS[kind])] != FIELDS[kind]:
        told.append(f"{name} begins with columns {columns}")
    lost = {column for table, some in parts if some for column in table.columns} - set(columns)
    if lost:
        told.append(f"{name} lacks the columns {sorted(lost)}")
    wanted = Counter(_frozen(wanted_row(kind, row, columns, subset)) for row in rows)
    actual = Counter(_frozen(row) for row in found)
    if kind == "masks":  # an empty BoxID is filled
        wanted, actual = _without_filled(wanted, actual)
    if kind == "images":
        listed = {row["ImageID"] for row in rows}
        if Counter(row["ImageID"] for row in found).most_common(1)[0][1] > 1:
            told.append(f"{name} lists an image twice")
        actual = Counter({key: n for key, n in actual.items() if dict(key)["ImageID"] in listed})
    for row, n in (wanted - actual).items():
        told.append(f"{name}: {n} times missing: {dict(row)}")
    for row, n in (actual - wanted).items():
        told.append(f"{name}: {n} times too many: {dict(row)}")
    return told


def _frozen(row: Row) -> tuple[tuple[str, str], ...]:
    return tuple(row.items())


def _without_filled(wanted: Counter[Any], actual: Counter[Any]) -> tuple[Counter[Any], Counter[Any]]:
    """Rows whose BoxID was empty are compared without it; it must be filled."""
    empty = {dict(row)["MaskPath"] for row in wanted if not dict(row).get("BoxID")}

    def reduced(rows: Counter[Any], fill: bool) -> Counter[Any]:
        found: Counter[Any] = Counter()
        for row, n in rows.items():
            cells = dict(row)
            if cells["MaskPath"] in empty:
                cells["BoxID"] = "filled" if fill or cells["BoxID"] else "still empty"
            found[_frozen(cells)] += n
        return found

    return reduced(wanted, True), reduced(actual, False)
