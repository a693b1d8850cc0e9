"""Lists: paging, search, sort, equality parameters and JSON Logic, over fields that are named here or nowhere.

The filter language is cvat-api 1.1: `and`, `or`, `!`, `!!`, a lone `var` (is set), `==`, `<`, `<=`, `>`, `>=`,
`in` (one of, or contains), and `<=` with three operands (between).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

import orjson
import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from app.errors import InvalidInput, NotFound, shorten
from app.storage.database import Connection
from app.storage.rows import ListQuery, Page
from app.storage.schema import EPOCH, MICROSECOND

Item = TypeVar("Item")
MAX_FILTER_CHARACTERS = 64 << 10
MAX_FILTER_DEPTH = 16
MAX_FILTER_TERMS = 1000
MAX_INTEGER = (1 << 63) - 1


class _ISOText(FunctionElement[str]):
    """Microseconds since 1970 as `2026-01-31T09:30:00.123456Z`."""

    inherit_cache = True
    type = sa.Text()


@compiles(_ISOText, "sqlite")
def _iso_text_of_sqlite(element: Any, compiler: Any, **more: Any) -> str:
    value = compiler.process(element.clauses, **more)
    return f"strftime('%Y-%m-%dT%H:%M:%S', {value} / 1000000, 'unixepoch') || printf('.%06dZ', {value} % 1000000)"


@compiles(_ISOText, "postgresql")
def _iso_text_of_postgresql(element: Any, compiler: Any, **more: Any) -> str:
    value = compiler.process(element.clauses, **more)
    form = """YYYY-MM-DD"T"HH24:MI:SS.US"Z\""""
    return f"to_char(to_timestamp({value}::numeric / 1000000) AT TIME ZONE 'UTC', '{form}')"


@dataclass(frozen=True, slots=True)
class Field:
    """One field that lists may be filtered and sorted by."""

    column: sa.ColumnElement[Any]
    kind: Literal["text", "integer", "moment", "boolean"] = "text"


@dataclass(frozen=True, slots=True)
class Listing:
    """How one resource is listed.

    Attributes:
        fields: by the name that clients use.
        search: names of the fields that `search` looks into.
        default_sort: as in the query, `-id`.
        unique: a column that breaks ties.
    """

    fields: Mapping[str, Field]
    search: tuple[str, ...]
    unique: sa.ColumnElement[Any]
    default_sort: str = "-id"


def fetch_page(
    conn: Connection, select: sa.Select[Any], listing: Listing, query: ListQuery, build: Callable[[Any], Item]
) -> Page[Item]:
    """Run the select for one page; `build` makes an item of a row.

    Raises:
        InvalidInput: an unknown field or operator, a bad value, a bad page size.
        NotFound: a page out of range.
    """
    for condition in _conditions(listing, query):
        select = select.where(condition)
    count = conn.execute(sa.select(sa.func.count()).select_from(select.order_by(None).subquery())).scalar_one()
    size = min(query.page_size, query.max_page_size) or max(count, 1)
    if query.page < 1 or (query.page > 1 and (query.page - 1) * size >= count):
        raise NotFound("page", query.page, "Invalid page.")
    ordered = select.order_by(*_order(listing, query.sort or listing.default_sort))
    rows = conn.execute(ordered.limit(size).offset((query.page - 1) * size)).all() if count else []
    return Page(count, tuple(build(row) for row in rows), query.page, size)


def _conditions(listing: Listing, query: ListQuery) -> list[sa.ColumnElement[bool]]:
    conditions = []
    for name, value in query.equals.items():
        field = _field(listing, name)
        conditions.append(field.column == _value(field, name, value))
    if query.search:
        _check_text(query.search, "search")
        conditions.append(sa.or_(*(_contains(listing.fields[name], query.search) for name in listing.search)))
    if query.filter:
        conditions.append(parse_filter(listing, query.filter))
    return conditions


def _order(listing: Listing, sort: str) -> list[sa.ColumnElement[Any]]:
    order: list[sa.ColumnElement[Any]] = []
    for name in filter(None, (part.strip() for part in sort.split(","))):
        column = _field(listing, name.removeprefix("-"), "sort").column
        order.append(column.desc().nulls_last() if name.startswith("-") else column.asc().nulls_last())
    order.append(listing.unique.desc() if order and sort.strip().startswith("-") else listing.unique.asc())
    return order


def _field(listing: Listing, name: object, place: str = "filter") -> Field:
    field = listing.fields.get(name) if isinstance(name, str) else None
    if field is None:
        known = ", ".join(sorted(listing.fields))
        raise InvalidInput(f"unknown field {shorten(name)!r}; known are {known}", place=place, code="filter.field")
    return field


def _check_text(text: str, place: str) -> None:
    if "\x00" in text:
        raise InvalidInput("a text with a NUL character", place=place)


def _value(field: Field, name: str, value: object) -> Any:
    """The value in the type of the field's column. Raises InvalidInput."""
    if field.kind == "text":
        text = value if isinstance(value, str) else str(value) if isinstance(value, int | float) else None
        if text is not None:
            _check_text(text, name)
            return text
    elif field.kind == "integer":
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,19}", value):
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_INTEGER:
            return value
    elif field.kind == "boolean":
        if isinstance(value, str) and value.lower() in ("true", "false", "1", "0"):
            value = value.lower() in ("true", "1")
        if isinstance(value, bool):
            return value
    elif isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
            moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
            if abs((moment - EPOCH) // MICROSECOND) <= MAX_INTEGER:
                return moment
        except (ValueError, OverflowError):
            pass
    raise InvalidInput(
        f"{shorten(value)!r} is not a value of this field ({field.kind})", place=name, code="filter.value"
    )


def _contains(field: Field, text: str) -> sa.ColumnElement[bool]:
    """Whether the value, as JSON shows it, holds the text in any letter case."""
    column = field.column
    if field.kind == "integer":
        column = sa.cast(column, sa.Text)
    elif field.kind == "boolean":
        column = sa.case((column.is_(True), "true"), (column.is_(False), "false"))
    elif field.kind == "moment":
        column = _ISOText(sa.type_coerce(column, sa.BigInteger))
    return sa.func.lower(column).contains(text.lower(), autoescape=True)


def _ordered(field: Field, value: Any) -> tuple[sa.ColumnElement[Any], Any]:
    """Column and value for `<` and its like: SQLite's dialect has no order of booleans, so they are 0 and 1."""
    if field.kind == "boolean":
        return sa.cast(field.column, sa.Integer), int(value)
    return field.column, value


def parse_filter(listing: Listing, text: str) -> sa.ColumnElement[bool]:
    """The condition that a JSON Logic text stands for. Raises InvalidInput."""
    if len(text) > MAX_FILTER_CHARACTERS:
        raise InvalidInput("the filter is too long", place="filter", code="filter.too_long")
    try:
        logic = orjson.loads(text)
    except (orjson.JSONDecodeError, RecursionError) as error:
        raise InvalidInput(f"not JSON: {error}", place="filter", code="filter.json") from None
    return _Parser(listing).condition(logic, 0)


class _Parser:
    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.n_terms = 0

    def condition(self, logic: Any, depth: int) -> sa.ColumnElement[bool]:
        self.n_terms += 1
        if depth > MAX_FILTER_DEPTH or self.n_terms > MAX_FILTER_TERMS:
            raise InvalidInput("the filter has too many parts", place="filter", code="filter.too_long")
        if not isinstance(logic, dict) or len(logic) != 1:
            raise self.error("expected an object with one operator", logic)
        operator, operands = next(iter(logic.items()))
        if operator == "var":
            return self.field(logic)[1].column.is_not(None)
        if operator in ("!", "!!"):
            inner = operands[0] if isinstance(operands, list) and len(operands) == 1 else operands
            found = self.condition(inner, depth + 1)
            # An absent value is not equal to anything: `not` is true for it, where SQL alone would say neither.
            return sa.not_(sa.func.coalesce(found, sa.false())) if operator == "!" else found
        if not isinstance(operands, list) or not operands:
            raise self.error("expected a list of operands", logic)
        if operator in ("and", "or"):
            parts = [self.condition(part, depth + 1) for part in operands]
            return sa.and_(*parts) if operator == "and" else sa.or_(*parts)
        if operator == "in":
            return self.contained(operands, logic)
        if operator == "<=" and len(operands) == 3:
            name, field = self.field(operands[1])
            (column, low), (_, high) = (_ordered(field, _value(field, name, operands[at])) for at in (0, 2))
            return column.between(low, high)
        comparisons: dict[str, Callable[[Any, Any], Any]] = {
            "==": lambda column, value: column == value,
            "<": lambda column, value: column < value,
            "<=": lambda column, value: column <= value,
            ">": lambda column, value: column > value,
            ">=": lambda column, value: column >= value,
        }
        if operator not in comparisons or len(operands) != 2:
            raise self.error(f"unknown operator {shorten(operator)!r}", logic)
        name, field = self.field(operands[0])
        if operator == "==" and operands[1] is None:
            return field.column.is_(None)
        value = _value(field, name, operands[1])
        column, value = (field.column, value) if operator == "==" else _ordered(field, value)
        compared: sa.ColumnElement[bool] = comparisons[operator](column, value)
        return compared

    def contained(self, operands: list[Any], logic: Any) -> sa.ColumnElement[bool]:
        if len(operands) != 2:
            raise self.error("`in` takes two operands", logic)
        left, right = operands
        if isinstance(left, dict) and isinstance(right, list):
            name, field = self.field(left)
            if len(right) > MAX_FILTER_TERMS:
                raise InvalidInput("the filter has too many values", place="filter", code="filter.too_long")
            return field.column.in_([_value(field, name, value) for value in right])
        if isinstance(left, str):
            _check_text(left, "filter")
            return _contains(self.field(right)[1], left)
        raise self.error("`in` takes a field and a list, or a text and a field", logic)

    def field(self, logic: Any) -> tuple[str, Field]:
        if not isinstance(logic, dict) or list(logic) != ["var"]:
            raise self.error('expected {"var": field}', logic)
        name = logic["var"]
        return str(name), _field(self.listing, name)

    def error(self, message: str, logic: Any) -> InvalidInput:
        return InvalidInput(
            f"{message}, found {shorten(orjson.dumps(logic).decode())}", place="filter", code="filter.logic"
        )
