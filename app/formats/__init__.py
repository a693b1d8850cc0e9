"""Annotation formats: a zip to annotations and back.

In:    an Archive of checked entries and a Target (frames, labels); or a Source of annotations and a Target.
Out:   batches of annotations and kept bytes into a Sink; or the members of an archive. Problems and counts: a Report.
Never: a store, a task, HTTP, a folder on disk; one format never knows another.
Spec:  each format's own page; what all share is in `base.py`.
Start: `registry.py`, one line a format; then the folder of the format.
"""

from app.formats.base import (
    ArchivePicture,
    ExportOptions,
    Format,
    ImportOptions,
    ListText,
    NewLabel,
    Note,
    Picture,
    Progress,
    SelectionOptions,
    Sink,
    Source,
    Survey,
    Target,
)
from app.formats.registry import (
    FORMATS,
    detect,
    find_format,
    kept_checker,
    knows,
    looks_into,
    notes_of,
    outlives,
    relabel_extras,
)
from app.formats.renaming import Renaming, parse_renaming
from app.formats.rules import RULES, parse_rules
from app.formats.selection import count_selected, parse_selection, read_selected, selects_labels, wanted_labels

__all__ = [
    "FORMATS",
    "RULES",
    "ArchivePicture",
    "ExportOptions",
    "Format",
    "ImportOptions",
    "ListText",
    "NewLabel",
    "Note",
    "Picture",
    "Progress",
    "Renaming",
    "SelectionOptions",
    "Sink",
    "Source",
    "Survey",
    "Target",
    "count_selected",
    "detect",
    "find_format",
    "kept_checker",
    "knows",
    "looks_into",
    "notes_of",
    "outlives",
    "parse_renaming",
    "parse_rules",
    "parse_selection",
    "read_selected",
    "relabel_extras",
    "selects_labels",
    "wanted_labels",
]
