"""The error tree, and the report that collects the problems of an archive. No HTTP here.

    AppError
    ├── InvalidInput          a request that cannot be understood (place, message)
    ├── AccessDenied          the caller may not do this
    ├── NotFound              no such thing, or not the caller's (resource, id)
    ├── Conflict              the thing is busy or already there
    ├── Outdated              it was changed since the caller looked at it
    ├── Expired               it was there and is gone
    ├── Busy                  try again later (seconds)
    ├── TooLarge              a limit of the settings was passed (limit name, limit, what)
    ├── NoSpace               the disk or the quota is full
    ├── Unsupported           known to CVAT, not offered here
    ├── Cancelled             the request was cancelled or taken over
    ├── Damaged               stored data cannot be read
    └── ImportProblems        the archive was refused; carries the Report with every problem

`code` is stable and machine readable (`zip.too_big`, `image.unmatched`, …); `detail` is one sentence for a person that
names the culprit and says what to do. Everything below the edge raises these; `api/errors.py` turns them into answers.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning"]

FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
BROKEN_DISK = frozenset({errno.EIO, errno.EROFS, errno.ENXIO, errno.ENODEV, errno.ESTALE})
SHORT_OF = {
    errno.EMFILE: "open files",
    errno.ENFILE: "open files",
    errno.EAGAIN: "processes or threads",
    errno.ENOMEM: "memory",
    errno.ENOBUFS: "memory",
}
NO_THREAD = "can't start new thread"
"""What Python says where the system refuses one; there is no class for it."""

MAX_VALUE_CHARACTERS = 80
MIN_UNQUOTED_CHARACTERS = 4
MAX_COLUMN_CHARACTERS = 1000  # the JSON path of the deepest node of a hierarchy is shorter


def shorten(value: object) -> str:
    """A value as it may stand in a message: at most 80 characters, control characters escaped."""
    text = str(value)
    if len(text) > MAX_VALUE_CHARACTERS:
        text = text[: MAX_VALUE_CHARACTERS - 1] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem with its place. `row` is the physical line where the record starts, header = 1."""

    code: str
    message: str
    severity: Severity = "error"
    file: str | None = None
    row: int | None = None
    column: str | None = None
    value: str | None = None
    suggestion: str | None = None

    def __post_init__(self) -> None:
        # Cells may hold megabytes and headers are anybody's text; every report carries them to people and logs.
        if self.value is not None:
            object.__setattr__(self, "value", shorten(self.value))
        if self.column is not None and len(self.column) > MAX_COLUMN_CHARACTERS:
            object.__setattr__(self, "column", self.column[: MAX_COLUMN_CHARACTERS - 1] + "…")

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.row, self.column) if part is not None)
        found = f' (found "{self.value}")' if self.severity == "error" and self.value and not self._is_told() else ""
        return f"{place}: {self.code}: {self.message}{found}" if place else f"{self.code}: {self.message}{found}"

    def _is_told(self) -> bool:
        """Whether the message has the value; a short one may be in there by chance, and counts where it is quoted."""
        quoted = f'"{self.value}"' in self.message or f"'{self.value}'" in self.message
        return quoted or (len(self.value or "") >= MIN_UNQUOTED_CHARACTERS and (self.value or "") in self.message)

    def to_dict(self) -> dict[str, Any]:
        return {
            "file": self.file,
            "row": self.row,
            "column": self.column,
            "code": self.code,
            "message": self.message,
            "severity": self.severity,
            "value": self.value,
            "suggestion": self.suggestion,
        }


@dataclass(slots=True)
class TableCount:
    """How many rows of one table were seen, and what became of them."""

    seen: int = 0
    kept: int = 0
    changed: int = 0
    dropped: int = 0


@dataclass(slots=True)
class Report:
    """Collects every problem: the first `limit` of each severity are listed, all are counted by code.

    `tables` counts rows by table (the path in the archive); `summary` holds any further facts worth telling
    (JSON values only), such as what each file of the archive was taken for.
    """

    limit: int = 100
    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    n_errors: int = 0
    n_warnings: int = 0
    tables: dict[str, TableCount] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)

    def add(self, problem: Problem) -> None:
        self.add_many([problem], 1)

    def add_many(self, problems: Iterable[Problem], count: int) -> None:
        """Count `count` problems of one code and severity, of which `problems` are the first few, in file order.

        Vectorised checks build a boolean mask, make `Problem`s for `room(...)` rows and pass the whole count.
        """
        severity, code = None, None
        for problem in problems:
            severity, code = problem.severity, problem.code
            listed = self.errors if severity == "error" else self.warnings
            if len(listed) < self.limit:
                listed.append(problem)
        if severity is None or code is None:
            return
        self.counts[code] = self.counts.get(code, 0) + count
        if severity == "error":
            self.n_errors += count
        else:
            self.n_warnings += count

    def count_more(self, code: str, severity: Severity, count: int) -> None:
        """Count further problems of a code without listing one of them."""
        self.counts[code] = self.counts.get(code, 0) + count
        if severity == "error":
            self.n_errors += count
        else:
            self.n_warnings += count

    def error(self, code: str, message: str, **place: Any) -> None:
        self.add(Problem(code, message, "error", **place))

    def warn(self, code: str, message: str, **place: Any) -> None:
        self.add(Problem(code, message, "warning", **place))

    def table(self, name: str) -> TableCount:
        return self.tables.setdefault(name, TableCount())

    def room(self, severity: Severity = "error") -> int:
        """How many more problems of this severity will be listed (at least one is always worth building)."""
        return max(1, self.limit - len(self.errors if severity == "error" else self.warnings))

    def warning_line(self) -> str:
        """How many warnings and which came first; "" where there is none."""
        if not self.warnings:
            return ""
        if self.n_warnings == 1:
            return f"1 warning: {self.warnings[0]}"
        return f"{self.n_warnings} warnings, first: {self.warnings[0]}"

    def raise_if_errors(self) -> None:
        if self.n_errors:
            raise ImportProblems(self)

    def problems(self) -> list[Problem]:
        return [*self.errors, *self.warnings]

    def to_dict(self) -> dict[str, Any]:
        return {
            "problems": [problem.to_dict() for problem in self.problems()],
            "counts": dict(sorted(self.counts.items())),
            "n_errors": self.n_errors,
            "n_warnings": self.n_warnings,
            "tables": {
                name: {"seen": c.seen, "kept": c.kept, "changed": c.changed, "dropped": c.dropped}
                for name, c in self.tables.items()
            },
            **self.summary,
        }


class AppError(Exception):
    """Anything this service refuses on purpose."""

    code = "error"

    def __init__(self, detail: str, *, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.kind = next(
            (one.code for one in type(self).__mro__ if issubclass(one, AppError) and AppError in one.__bases__), ""
        )
        """The code of its branch of the tree, whatever its own; what came from another process has that of there."""
        if code is not None:
            self.code = code

    def problems(self) -> Sequence[Problem]:
        return ()


class InvalidInput(AppError):
    """A request that cannot be understood; `place` names the field or position, as `shapes[17].points[3]`."""

    code = "request.invalid"

    def __init__(self, detail: str, *, place: str | None = None, code: str | None = None) -> None:
        super().__init__(f"{place}: {detail}" if place else detail, code=code)
        self.place = place


class NotAuthenticated(AppError):
    """No credentials, or wrong ones."""

    code = "access.not_authenticated"


class AccessDenied(AppError):
    """The caller is known and may not do this."""

    code = "access.denied"


class NotFound(AppError):
    """No such thing, or not the caller's: the answer is the same."""

    code = "not_found"

    def __init__(self, resource: str, key: object, detail: str | None = None) -> None:
        super().__init__(detail or "Not found.")
        self.resource = resource
        self.key = key


class Conflict(AppError):
    """The thing is busy, or already there."""

    code = "conflict"


class Outdated(AppError):
    """What the caller looked at (If-Match) is not what is there now."""

    code = "request.outdated"


class NotMigrated(Conflict):
    """The database is empty, or that of an older version; `migrate` or `serve` bring it up to date."""


class OffsetMismatch(Conflict):
    """A chunk of a resumable upload does not start where the upload ends."""

    code = "upload.offset"

    def __init__(self, detail: str, offset: int) -> None:
        super().__init__(detail)
        self.offset = offset


class Expired(AppError):
    """It was there and is gone."""

    code = "expired"


class Busy(AppError):
    """Try again later."""

    code = "busy"

    def __init__(self, detail: str, retry_after_seconds: int = 1, *, code: str | None = None) -> None:
        super().__init__(detail, code=code)
        self.retry_after_seconds = retry_after_seconds


class Unreachable(Busy):
    """A database server, or an object store, does not answer: it may not have started yet."""


class TooManyRequests(Busy):
    """This caller alone has asked for too much."""

    code = "busy.caller"


class TooLarge(AppError):
    """A limit of the settings was passed."""

    code = "too_large"


class NoSpace(AppError):
    """The disk or the quota is full."""

    code = "no_space"


class Unsupported(AppError):
    """Known to CVAT, not offered here."""

    code = "unsupported"


class LimitReached(AppError):
    """Background work used up its time or memory (`limit.time`, `limit.memory`)."""

    code = "limit.time"


class Cancelled(AppError):
    """The request was cancelled, or another worker took it over."""

    code = "cancelled"


class Damaged(AppError):
    """Stored data cannot be read."""

    code = "damaged"


class ImportProblems(AppError):
    """The archive was refused; `report` holds every problem."""

    def __init__(self, report: Report) -> None:
        first = report.errors[0]
        more = report.n_errors - 1
        super().__init__(f"{first} (and {more} more)" if more else str(first), code=first.code)
        self.report = report

    @classmethod
    def single(cls, code: str, message: str, **place: Any) -> ImportProblems:
        """For readers that cannot go on after the first problem, such as a damaged zip."""
        report = Report()
        report.error(code, message, **place)
        return cls(report)

    def problems(self) -> Sequence[Problem]:
        return self.report.problems()


def shortage_of(error: BaseException) -> AppError | None:
    """The house's error where the machine refused something that it may give in a while: room (NoSpace), a disk that
    answers, open files, processes, threads, memory (Busy). None where the error is a mistake of the service."""
    if isinstance(error, OSError):
        if error.errno in FULL_DISK:
            return NoSpace("there is no space left on the disk")
        if error.errno in BROKEN_DISK:
            return Busy(f"the disk cannot be used just now ({error.strerror}); try again")
        if error.errno in SHORT_OF:
            return Busy(f"this machine is short of {SHORT_OF[error.errno]} just now ({error.strerror}); try again")
        return None
    if isinstance(error, MemoryError):
        return Busy("this machine is short of memory just now; try again")
    if isinstance(error, RuntimeError) and NO_THREAD in str(error):
        return Busy("this machine is short of threads just now; try again")
    return None


@contextmanager
def shortages() -> Iterator[None]:
    """Raise what `shortage_of` gives in place of the system's own error."""
    try:
        yield
    except OSError as error:
        known = shortage_of(error)
        if known is None:
            raise
        raise known from error
