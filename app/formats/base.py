"""What a format is: a name, a test of entry names, a reader and a writer. Formats know no store, no task, no HTTP.

A format meets four things, all given to it:

    Target    the frames and labels that annotations refer to; whether of a task, a job or a project it cannot tell
    Sink      takes batches of annotations and bytes worth keeping (import)
    Source    gives the annotations back, frame by frame, as often as asked, always the same state (export)
    Report    takes every problem and count
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, NewType, Protocol

import numpy as np
import numpy.typing as npt

from app.annotations import (
    Annotations,
    AttributeSpec,
    FrameTable,
    Images,
    Kept,
    LabelCatalog,
    Rows,
    Shapes,
    Tags,
    Tracks,
)
from app.archive import Archive, ArchiveWriter
from app.columns import Ragged, Texts
from app.errors import Report, shorten

NAMES_TRIED, NAMES_SHOWN = 100, 5
"""Names of files that are compared with those of tables, and that a message shows."""
PACKED = (".zip", ".gz", ".tar", ".7z", ".rar", ".xz", ".bz2")
_OTHER_FORMATS = {
    "COCO": re.compile(
        r"(?:^|/)(?:(?:instances|person_keypoints|captions|panoptic|stuff|image_info|labels)_[^/]+|_annotations\.coco)\.json$"
    ),
    "CVAT's XML": re.compile(r"(?:^|/)annotations\.xml$"),
    "Roboflow's CSV": re.compile(r"(?:^|/)(?:_annotations|_classes)\.csv$"),
    "the text labels of OIDv4_ToolKit, whose csv_folder is Open Images": re.compile(r"(?:^|/)Label/[^/]+\.txt$"),
    "Pascal VOC": re.compile(r"(?:^|/)(?:Annotations|pascal)/[^/]+\.xml$"),
    "YOLO": re.compile(
        r"(?:^|/)(?:darknet/[^/]+\.txt|obj_[^/]+_data/[^/]+\.txt|labels/(?:[^/]+/)*[^/]+\.txt|obj\.names|data\.ya?ml)$"
    ),
    "Datumaro's JSON": re.compile(r"(?:^|/)annotations/[^/]+\.json$"),
}
"""Names that tell another format, for messages; the first that fits."""

Progress = Callable[[float], None]
"""Told 0..1 now and then; raises Cancelled when the work is no longer wanted."""


MAX_GROUP = (1 << 31) - 1


@dataclass(frozen=True, eq=False)
class Target:
    """What annotations refer to.

    Attributes:
        subsets: (number of frames,) the subset of each frame's task; "" where it has none.
        name: the task's (or project's) name, for messages.
        earlier: extras of the sets the target holds already, oldest first, as `Source.extras` gives them: what an
            import may know of the imports before it (such as the ids that labels came with).
        listed: the images of which the target has rows that stay beside those of an appended import, in ascending
            frames, those of one frame oldest first; None: no row stays.
        first_group: the lowest group number an import may give; where rows are appended, above every group in use.
        group_room: how many numbers from there on are free.
        chosen: (number of frames,) bool, the frames whose rows a selection can take; rows of others need no label.
            None: any can.
        unneeded: words for labels that no selected row uses; rows that use them are passed over.
        is_part: not all frames of a task: those of a job, whose assignee may see no others.
        parts: the first frame of each task, where the frames are those of several: no track goes from one to another.
    """

    frames: FrameTable
    labels: LabelCatalog
    subsets: Texts
    name: str = ""
    earlier: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    listed: Callable[[], Iterator[Images]] | None = None
    first_group: int = 1
    group_room: int = MAX_GROUP
    chosen: npt.NDArray[np.bool_] | None = None
    unneeded: frozenset[str] = frozenset()
    is_part: bool = False
    parts: tuple[int, ...] = ()


ListText = NewType("ListText", str)
"""A list as one text: entries separated by commas or line breaks, quoted where they hold one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionOptions:
    """Which part of a data set is wanted, as a caller writes it; `selection.py` says what each means. Empty: all."""

    classes: ListText = ListText("")
    descendants: bool = False
    only_matching: bool = False
    subsets: ListText = ListText("")
    image_ids: ListText = ListText("")
    attributes: ListText = ListText("")
    min_confidence: str = ""
    max_confidence: str = ""
    annotated_only: bool = False
    label_types: ListText = ListText("")
    max_images: str = ""
    seed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions(SelectionOptions):
    """How an archive is read; every option of every format, by name."""

    unmatched: Literal["error", "skip"] = "error"
    conv_mask_to_poly: bool = False
    machine_labels: Literal["keep", "tags"] = "keep"
    labels: Literal["match", "create"] = "match"
    map: ListText = ListText("")
    missing: Literal["remove", "keep"] = "remove"
    rules: ListText = ListText("")
    max_rows: int = 20_000_000
    max_mask_pixels: int = 50_000_000
    max_mask_bytes: int = 32 << 20
    max_field_bytes: int = 16 << 20
    max_columns: int = 256
    max_classes: int = 250_000
    max_subsets: int = 1_000
    max_hierarchy_depth: int = 32
    max_hierarchy_nodes: int = 100_000
    mask_helpers: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions(SelectionOptions):
    """How an archive is written."""

    save_images: bool = False
    rotated: Literal["mask", "box", "both"] = "mask"
    label_ids: Literal["mid", "name"] = "mid"
    layout: Literal["default", "official", "fiftyone"] = "default"
    expand: Literal["none", "hierarchy"] = "none"
    documented_image_list: bool = True
    side_file: bool = True
    box_source: str = ""
    tag_source: str = ""
    mask_helpers: int = 0


class Sink(Protocol):
    """Where a reader puts what it read. Nothing is visible to anyone before the whole import is."""

    def write(self, batch: Annotations) -> None:
        """Take a batch (thousands of rows; any frames, any order). Ids are ignored and given by the store."""

    def keep(self, data: bytes | memoryview) -> tuple[int, int, int]:
        """Keep bytes as they are; answers (offset, size, crc32) for `Kept.png_*`, or for the format's extras."""

    def extras(self, extras: dict[str, Any]) -> None:
        """The format's own JSON document about this import (tables and headers, display names, kept files …)."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A frame's picture as it was uploaded."""

    size: int
    chunks: Callable[[], Iterator[bytes]]


class Source(Protocol):
    """One consistent state of the annotations of a target, in batches of ascending frames.

    Deleted frames and frames outside the target are left out already. Every call starts a new pass.
    """

    def images(self) -> Iterator[Images]: ...
    def tags(self) -> Iterator[Tags]: ...
    def shapes(self) -> Iterator[Shapes]: ...
    def tracks(self) -> Tracks: ...
    def rows(self) -> Iterator[Rows]: ...

    def part(self, wanted: npt.NDArray[np.bool_]) -> Source:
        """The same, whose images, tags, shapes and rows are at least those of the frames (N,) that are wanted: a reader
        of some need not pass over all."""

    def subsets(self) -> Iterator[tuple[npt.NDArray[np.int32], Texts]]:
        """Frames and subsets of `images`, and nothing else of them."""

    def grouped_tags(self) -> Iterator[tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]]:
        """Frames and groups of the `tags` that are in a group."""

    def only_subset(self) -> str | None:
        """The subset of all that `images` gives, where that can be told at once; None where it cannot, for there may be
        several."""

    def extras(self) -> dict[int, dict[str, Any]]:
        """The extras of every set (`Kept.sets`) still in use, oldest first."""

    def kept_bytes(self, set_id: int, offset: int, size: int) -> bytes:
        """What `Sink.keep` took."""

    def picture(self, frame: int) -> Picture: ...


@dataclass(frozen=True, slots=True)
class Survey:
    """What an archive says it is about, before it is read against a target.

    Attributes:
        images: (N,) bytes, the ids of its images, in the order of its sizes, others in that of their first mention.
        widths, heights: (N,) int32, pixels; 0 where the archive tells none.
        labels: the names of its labels as a task would call them (display names where there are any), in the order of
            its class names, others in that of their first row.
        classes: the names in its class files, in their order, whether a row has them or not.
        attributes: what it says of a label beyond rows, by name, as attributes; their ids say nothing yet.
    """

    images: Ragged
    widths: npt.NDArray[np.int32]
    heights: npt.NDArray[np.int32]
    labels: list[str]
    classes: list[str] = field(default_factory=list)
    attributes: Mapping[str, tuple[AttributeSpec, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ArchivePicture:
    """One picture of an archive: its entry, and the frame it would be: its name and the subset it belongs to."""

    path: str
    name: str
    subset: str


@dataclass(frozen=True, slots=True)
class ClassWords:
    """What words may mean a label beside its name.

    Attributes:
        mids: the format's own name of a label, by label id.
        display_names: display name by the format's own name of a class.
        hierarchy: a checked class hierarchy, as the JSON text `{"LabelName": …, "Subcategory": […]}`.
    """

    mids: Mapping[int, str] = field(default_factory=dict)
    display_names: Mapping[str, str] = field(default_factory=dict)
    hierarchy: str | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """What a kept row says of a picture that no shape or tag shows.

    Attributes:
        words: for people.
        file: the table it came in.
        cells: the row, by column.
    """

    kind: str
    words: str
    file: str
    cells: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class NewLabel:
    """A label that an archive speaks of and its target has not.

    Attributes:
        words: what the archive calls it, the first that its rows use first.
        attributes: what its rows say more, as attributes; their ids say nothing yet.
    """

    name: str
    words: tuple[str, ...] = ()
    attributes: tuple[AttributeSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class NewDocument:
    """The extras of an archive that has been read, and the number that `Kept.sets` of its rows have."""

    set_id: int
    extras: Mapping[str, Any]


@dataclass(slots=True)
class Changes:
    """What an import did to the rows of one kind.

    Attributes:
        unchanged: rows of the target that the archive has too, saying the same.
        kept: rows of the target that the archive does not have, and that stay.
    """

    added: int = 0
    removed: int = 0
    changed: int = 0
    unchanged: int = 0
    kept: int = 0

    def to_dict(self) -> dict[str, int]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """Rows that the target has of some frames; `imported` says of each kind which rows an archive once brought."""

    annotations: Annotations
    imported: Mapping[str, npt.NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class MergedDocuments:
    """Extras when an archive has been merged.

    Attributes:
        earlier: those of earlier sets that are another now, by set.
        new: those of the set that holds what the archive added and corrected.
        is_needed: `new` says something that no earlier set does.
    """

    earlier: Mapping[int, dict[str, Any]]
    new: dict[str, Any]
    is_needed: bool


class Merger(Protocol):
    """Compares an archive that has been read with what the target holds, some frames at a time."""

    @property
    def changes(self) -> Mapping[str, Changes]: ...

    def merge(
        self, held: Held, new: Annotations, write: Callable[[Annotations], None]
    ) -> Mapping[str, npt.NDArray[np.bool_]]:
        """Rows of ascending, disjoint ranges of frames; of each range all that the target and the archive have.

        Args:
            write: takes what is written beside the rows that stay, some at a time; a row with an id continues the
                annotation of that id.

        Returns:
            (number of held rows,) of each kind: those that leave, or that a written row continues.
        """

    def documents(self) -> MergedDocuments: ...

    def summary(self) -> dict[str, Any]:
        """What the merge did, for the report."""


Accepts = Callable[[Sequence[str]], bool]
Read = Callable[[Archive, Target, ImportOptions, Sink, Report, Progress], None]
Write = Callable[[Source, Target, ArchiveWriter, ExportOptions, Report, Progress], None]
TakeSurvey = Callable[[Archive, ImportOptions], Survey]
FindWords = Callable[[Archive, LabelCatalog], ClassWords]
Relabel = Callable[[Mapping[str, Any], Mapping[int, int], Mapping[int, int]], dict[str, Any] | None]
CheckKept = Callable[[Mapping[str, Any], Kept], None]
Outlives = Callable[[Mapping[str, Any], int, int], bool]
Count = Callable[[Source, Target, ExportOptions, Report], None]
TellRows = Callable[[Mapping[str, Any], Rows], list[Note] | None]
FindNewLabels = Callable[[Archive, Target, ImportOptions], list[NewLabel]]
ListImages = Callable[[Source, Target, ExportOptions, Report], Iterator[bytes]]
TakePictures = Callable[[Archive], list[ArchivePicture]]
MakeMerger = Callable[["NewDocument", Target, ImportOptions, Report], Merger]


def hint_of_packed(names: Iterable[str]) -> str:
    """That what is missed may lie in an archive of its own; "" where there is none."""
    packed = min((name for name in names if name.lower().endswith(PACKED)), default="")
    return f'. "{shorten(packed)}" is not looked into: send what it holds' if packed else ""


def hint_of_names(near: str | None, names: Iterable[str]) -> str:
    """What to do about an archive without a table; `near` is the name that one of its files should perhaps have."""
    if near:
        return f'. Did you mean "{shorten(near)}"?'
    names = sorted(names)
    if packed := hint_of_packed(names):
        return packed
    other = next((what for what, path in _OTHER_FORMATS.items() if any(map(path.search, names))), None)
    return f". It looks like {other}: export it as Open Images, or convert it (datumaro does)" if other else ""


@dataclass(frozen=True, slots=True)
class Format:
    """One entry of the registry.

    Attributes:
        accepts: whether entry names look like this format; the names alone decide.
        read: writes batches to the sink and problems to the report; the caller decides what errors mean.
        write: writes the whole archive, but does not close the writer.
        survey: tells which images and labels an archive speaks of, as far as an import with these options reads it;
            None for a format that is not read.
        class_words: tells which words of an archive mean the labels of a target; None where only their names do.
        pictures: tells the pictures of an archive with their subsets; None where it never has any.
        looks_into: whether a zip of this name, within or beside an archive, is a folder of its members.
        knows: whether a file of this name may come by itself, in no zip.
        example: the name of a file that it reads, for messages.
        nearest: the path that one of these files was probably meant to have, whose name the format almost knows.
        list_images: the images that an export with these options would hold, as a text with one a line.
        relabel: the extras of an import with the ids of labels and attributes replaced (those of a task that was made
            anew); None where they are not this format's. Raises ValueError where they are damaged.
        check_kept: looks whether kept rows can be those of an import, told its extras, which `relabel` took; raises
            ValueError where they cannot. None: anything can be.
        outlives: whether an import, told its extras, has left something that stays when nothing is left of its rows but
            those of frames first to stop, and these go.
        new_labels: the labels that an import with these options would lack, in order of their first row; problems are
            left to `read`. None for a format that cannot tell.
        notes: tells what kept rows of an import say, told its extras; None where those are not this format's.
        count: tells the report's summary what of everything an export with these options would hold, and writes
            nothing; None where a selection means what it means everywhere.
        merger: compares what an archive brings with what is there; None where archives cannot be merged.
    """

    name: str
    version: str
    accepts: Accepts
    read: Read | None
    write: Write | None
    survey: TakeSurvey | None = None
    pictures: TakePictures | None = None
    class_words: FindWords | None = None
    relabel: Relabel | None = None
    count: Count | None = None
    looks_into: Callable[[str], bool] = lambda name: False
    knows: Callable[[str], bool] = lambda name: False
    nearest: Callable[[Sequence[str]], str | None] = lambda names: None
    merger: MakeMerger | None = None
    new_labels: FindNewLabels | None = None
    notes: TellRows | None = None
    list_images: ListImages | None = None
    example: str = ""
    check_kept: CheckKept | None = None
    outlives: Outlives = lambda extras, start, stop: False
    ext: str = "ZIP"
    dimension: str = "2d"
    carries: frozenset[str] = field(default_factory=frozenset)

    @property
    def display_name(self) -> str:
        """CVAT's form: name, blank, version."""
        return f"{self.name} {self.version}"
