"""Labels and their attributes (cvat-api 8): what clients send becomes drafts for the store."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from app.annotations import INPUT_TYPES, LABEL_TYPES, AttributeSpec
from app.annotations import Label as LabelValue
from app.api.errors import did_you_mean, no_choice
from app.api.schemas.basic import Id, PatchModel, PlainName, ReadModel, Text, WriteModel
from app.storage import AttributeDraft, LabelDraft
from app.storage.labels import MAX_LABELS

COLOR = re.compile(r"#[0-9a-fA-F]{6}\Z")
SHORT_COLOR = re.compile(r"#[0-9a-fA-F]{3}\Z")
MAX_SVG_CHARACTERS = 1 << 20
MAX_VALUES = 10_000
MAX_DEFAULT_CHARACTERS = 128
"""CVAT's clients refuse to read a list of labels with a longer one."""


def _value_text(value: Any) -> Any:
    """Attribute values are texts; numbers and booleans of hand-written JSON are taken for what they mean."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return value


def _label_type(value: str) -> str:
    if value not in LABEL_TYPES:
        raise ValueError(no_choice(value, LABEL_TYPES))
    return value


def _input_type(value: str) -> str:
    if value not in INPUT_TYPES:
        raise ValueError(no_choice(value, INPUT_TYPES))
    return value


def _color(value: str) -> str:
    if SHORT_COLOR.match(value):
        value = "#" + "".join(digit * 2 for digit in value[1:])
    if value and not COLOR.match(value):
        raise ValueError(f'"{value}" is not a color; write it as #ff0000.')
    return value.lower()


Value = Annotated[Text, BeforeValidator(_value_text), Field(max_length=4096)]
LabelName = Annotated[PlainName, Field(min_length=1, max_length=64)]
LabelType = Annotated[Text, AfterValidator(_label_type), Field(json_schema_extra={"enum": list(LABEL_TYPES)})]
InputType = Annotated[Text, AfterValidator(_input_type), Field(json_schema_extra={"enum": list(INPUT_TYPES)})]
Color = Annotated[Text, AfterValidator(_color), Field(examples=["#ff0000"])]


class AttributeRequest(WriteModel):
    """An attribute of a label as clients write it."""

    id: Id | None = None
    name: LabelName
    mutable: bool = False
    input_type: InputType = "text"
    default_value: Annotated[Value, Field(json_schema_extra={"maxLength": MAX_DEFAULT_CHARACTERS})] | None = None
    values: Annotated[list[Value], Field(default_factory=list, max_length=MAX_VALUES)]
    deleted: bool = False

    @model_validator(mode="after")
    def _check_values(self) -> AttributeRequest:
        if self.deleted:
            raise ValueError(f'attribute "{self.name}" cannot be taken from its label; delete the label instead')
        match self.input_type:
            case "checkbox":
                self._check_checkbox()
            case "select" | "radio":
                self._check_choices()
            case "number":
                self._check_number()
        if len(self._default) > MAX_DEFAULT_CHARACTERS:
            first = "" if self.default_value else " (the first of its values, as no other is named)"
            raise ValueError(
                f'attribute "{self.name}": its default{first} has {len(self._default):,} characters; '
                f"at most {MAX_DEFAULT_CHARACTERS} are taken"
            )
        return self

    @property
    def _default(self) -> str:
        if self.default_value is not None:
            return self.default_value
        return self.values[0] if self.values else "false" if self.input_type == "checkbox" else ""

    def _check_checkbox(self) -> None:
        for value in (*self.values, self.default_value or "false"):
            if value.lower() not in ("true", "false"):
                raise ValueError(f'attribute "{self.name}": a checkbox is "true" or "false", not "{value}"')
        self.values = [value.lower() for value in self.values]
        if self.default_value:
            self.default_value = self.default_value.lower()

    def _check_choices(self) -> None:
        if not self.values:
            raise ValueError(f'attribute "{self.name}": {self.input_type} needs at least one value')
        if len(set(self.values)) < len(self.values):
            raise ValueError(f'attribute "{self.name}": a value is there twice')
        if self.default_value and self.default_value not in self.values:
            near = did_you_mean(self.default_value, self.values)
            raise ValueError(
                f'attribute "{self.name}": the default "{self.default_value}" is not among its values.{near}'
            )

    def _check_number(self) -> None:
        if not self.values:
            return
        numbers = [_number(value) for value in self.values]
        if len(numbers) != 3 or any(number is None for number in numbers):
            raise ValueError(f'attribute "{self.name}": number takes the values [minimum, maximum, step]')
        low, high, step = (number for number in numbers if number is not None)
        if low > high or step < 0:
            raise ValueError(f'attribute "{self.name}": the minimum is above the maximum, or the step below zero')
        if self.default_value:
            default = _number(self.default_value)
            if default is None or not low <= default <= high:
                raise ValueError(f'attribute "{self.name}": the default "{self.default_value}" is not in its range')

    def draft(self, *, with_id: bool) -> AttributeDraft:
        return AttributeDraft(
            name=self.name,
            mutable=self.mutable,
            input_type=self.input_type,
            default_value=self._default,
            values=tuple(self.values),
            id=self.id if with_id else None,
        )


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


class SublabelRequest(WriteModel):
    """A sublabel of a skeleton as clients write it."""

    id: Id | None = None
    name: LabelName
    color: Color | None = None
    type: LabelType = "points"
    attributes: Annotated[list[AttributeRequest], Field(max_length=1000)] | None = None

    def draft(self, *, with_id: bool) -> LabelDraft:
        return LabelDraft(
            name=self.name,
            id=self.id if with_id else None,
            color=self.color or None,
            type=self.type,
            attributes=_attribute_drafts(self.attributes, with_id=with_id),
        )


def _attribute_drafts(attributes: list[AttributeRequest] | None, *, with_id: bool) -> tuple[AttributeDraft, ...] | None:
    if attributes is None:
        return None
    names = [attribute.name for attribute in attributes]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f'attribute "{twice}" is there twice')
    return tuple(attribute.draft(with_id=with_id) for attribute in attributes)


class PatchedLabelRequest(PatchModel):
    """A label as clients write it: a new one, or (with `id`) a change of one."""

    id: Id | None = None
    name: LabelName | None = None
    color: Color | None = None
    type: LabelType | None = None
    attributes: Annotated[list[AttributeRequest], Field(max_length=1000)] | None = None
    sublabels: Annotated[list[SublabelRequest], Field(max_length=1000)] | None = None
    svg: Annotated[Text, Field(max_length=MAX_SVG_CHARACTERS)] | None = None
    deleted: bool = Field(False, description="With `id`: remove the label and its annotations")

    @model_validator(mode="after")
    def _check_whole(self) -> PatchedLabelRequest:
        if self.deleted:
            if self.id is None:
                raise ValueError("`deleted` goes with the `id` of the label")
            return self
        label = f'label "{self.name}"' if self.name else f"label {self.id}"
        if self.sublabels:
            if self.type not in (None, "skeleton"):
                raise ValueError(f"{label}: sublabels belong to a skeleton only")
            names = [sublabel.name for sublabel in self.sublabels]
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise ValueError(f'{label}: sublabel "{twice}" is there twice')
            if any(sublabel.type == "skeleton" for sublabel in self.sublabels):
                raise ValueError(f"{label}: a sublabel cannot be a skeleton itself")
        self.draft(with_id=True)
        return self

    def draft(self, *, with_id: bool) -> LabelDraft:
        """For the store; on creation of a task or project (`with_id` false) ids are ignored."""
        sublabels = self.sublabels
        return LabelDraft(
            name=self.name,
            id=self.id if with_id else None,
            deleted=self.deleted,
            color=self.color or None,
            type=self.type or ("skeleton" if sublabels else None),
            attributes=_attribute_drafts(self.attributes, with_id=with_id),
            sublabels=None if sublabels is None else tuple(one.draft(with_id=with_id) for one in sublabels),
            svg=self.svg,
        )


def _check_new_labels(labels: list[PatchedLabelRequest]) -> list[PatchedLabelRequest]:
    """In a list, an entry without an id is a new label, which must be whole."""
    for index, label in enumerate(labels):
        if label.id is None and label.name is None:
            raise ValueError(f"labels[{index}]: a new label needs a name, a change of one needs its id")
        if label.id is None and label.type == "skeleton" and not label.sublabels:
            raise ValueError(f'labels[{index}]: "{label.name}" is a skeleton and needs sublabels')
    return labels


Labels = Annotated[list[PatchedLabelRequest], Field(max_length=MAX_LABELS), AfterValidator(_check_new_labels)]


class Attribute(ReadModel):
    """An attribute a label declares. All values are texts."""

    id: int = Field(examples=[3])
    name: str = Field(examples=["side"])
    mutable: bool
    input_type: str = Field(examples=["select"])
    default_value: str = Field(examples=["left"])
    values: list[str] = Field(examples=[["left", "right"]])

    @classmethod
    def of(cls, spec: AttributeSpec) -> Attribute:
        return cls(
            id=spec.id,
            name=spec.name,
            mutable=spec.mutable,
            input_type=spec.input_type,
            default_value=spec.default_value,
            values=list(spec.values),
        )


class Sublabel(ReadModel):
    """A part of a skeleton."""

    id: int
    name: str
    color: str
    type: str
    attributes: list[Attribute]
    has_parent: bool = True

    @classmethod
    def of(cls, label: LabelValue) -> Sublabel:
        return cls(
            id=label.id,
            name=label.name,
            color=label.color,
            type=label.type,
            attributes=[Attribute.of(spec) for spec in label.attributes],
            has_parent=True,
        )


class Label(ReadModel):
    """A label of a task or of a project: one of `task_id` and `project_id` is there."""

    id: int = Field(examples=[7])
    name: str = Field(examples=["car"])
    color: str = Field(examples=["#ff0000"])
    type: str = Field(examples=["any"])
    attributes: list[Attribute]
    sublabels: list[Sublabel]
    svg: str = ""
    has_parent: bool = False
    parent_id: int | None = None
    task_id: int | None = None
    project_id: int | None = None

    @classmethod
    def of(cls, label: LabelValue, task_id: int | None, project_id: int | None) -> Label:
        owner = {"task_id": task_id} if project_id is None else {"project_id": project_id}
        return cls(
            id=label.id,
            name=label.name,
            color=label.color,
            type=label.type,
            attributes=[Attribute.of(spec) for spec in label.attributes],
            sublabels=[Sublabel.of(sublabel) for sublabel in label.sublabels],
            svg=label.svg,
            has_parent=label.parent_id is not None,
            parent_id=label.parent_id,
            **owner,
        )
