"""Labels and their attributes, as CVAT knows them: what a task's annotations may say."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

INPUT_TYPES = ("checkbox", "radio", "number", "text", "select")
LABEL_TYPES = (
    "any",
    "cuboid",
    "ellipse",
    "mask",
    "points",
    "polygon",
    "polyline",
    "rectangle",
    "skeleton",
    "tag",
    "interval",
)


MAX_NAME_CHARACTERS = 64


def has_controls(name: str) -> bool:
    """Whether a name holds control characters (C0, DEL, C1), which terminals and logs would obey."""
    return any(c < " " or "\x7f" <= c <= "\x9f" for c in name)


def is_label_name(name: str) -> bool:
    """Whether a label or an attribute can be called so."""
    return 1 <= len(name) <= MAX_NAME_CHARACTERS and name == name.strip() and not has_controls(name)


@dataclass(frozen=True, slots=True)
class AttributeSpec:
    """One attribute a label declares. All values are texts, as in CVAT."""

    id: int
    name: str
    mutable: bool
    input_type: str
    default_value: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Label:
    """One label; a skeleton has sublabels, whose `parent_id` is its id."""

    id: int
    name: str
    color: str
    type: str
    attributes: tuple[AttributeSpec, ...] = ()
    sublabels: tuple[Label, ...] = ()
    svg: str = ""
    parent_id: int | None = None

    def attribute(self, name: str) -> AttributeSpec | None:
        """The declared attribute of this name, or None."""
        return next((spec for spec in self.attributes if spec.name == name), None)


@dataclass(frozen=True)
class LabelCatalog:
    """The labels of one task (or of its project), in order of definition. What is made of all of them is made once: a
    catalog serves many calls."""

    labels: tuple[Label, ...]

    @cached_property
    def by_id(self) -> dict[int, Label]:
        """Labels and sublabels by id."""
        return {label.id: label for top in self.labels for label in (top, *top.sublabels)}

    @cached_property
    def by_name(self) -> dict[str, Label]:
        """Top-level labels by name."""
        return {label.name: label for label in self.labels}

    @cached_property
    def top_ids(self) -> npt.NDArray[np.int64]:
        """(N,) ids of the top-level labels, ascending."""
        return np.sort(np.array([label.id for label in self.labels], dtype=np.int64))

    @cached_property
    def default_sizes(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """(N,) ids of labels and sublabels, ascending; and (N,) about how many bytes of JSON the defaults of the
        attributes of each take."""
        sizes = {key: _default_size(label) for key, label in sorted(self.by_id.items())}
        return np.array([*sizes], dtype=np.int64), np.array([*sizes.values()], dtype=np.int64)


def _default_size(label: Label) -> int:
    return sum(len('{"spec_id":1234567,"value":""},') + len(spec.default_value) for spec in label.attributes)
