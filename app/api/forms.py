"""multipart/form-data as it arrives: files go straight to a staged blob, one after the other; texts stay here.

    --boundary                                     file 0    file 1      file 2
    Content-Disposition: form-data; …       blob  ┌─────────┬───────────┬──────┐
    <blank line>                                  └─────────┴───────────┴──────┘
    bytes …                                parts   offset, size, the client's name of each

Nothing is held but a text field's value, so a form of thousands of pictures costs what its largest text costs. The
file name in a form is a path on the client's machine; what is kept is its last component. What stands before the first
boundary and behind the last one is passed over, up to 4 KiB each (RFC 2046, 5.1.1: notes for programs that do not know
forms).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, cast
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.errors import InvalidInput, TooLarge, shorten
from app.operations import last_part
from app.storage import UploadPart

MAX_PART_HEADERS = 32
MAX_PREAMBLE_BYTES = 4 << 10
MAX_PADDING_BYTES = 64
"""Blanks behind the first boundary."""
MAX_EPILOGUE_BYTES = 4 << 10
MAX_TEXT_BYTES = 8 << 20
MAX_NAME_CHARACTERS = 1024
_QUOTED = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"')
_EXTENDED_NAME = re.compile(r";\s*+filename\*\s*+=\s*+utf-8'[^']*+'([^;\s]++)", re.IGNORECASE)
PLAIN_ENCODINGS = frozenset({"", "binary", "8bit", "7bit"})


class Sink(Protocol):
    """Where the bytes of files go; `storage.UploadWriter` is one."""

    def write(self, data: bytes | bytearray | memoryview) -> None: ...


@dataclass(frozen=True, slots=True)
class FormLimits:
    """What one form may hold."""

    max_files: int = 10_000
    max_fields: int = 1_000
    max_field_bytes: int = 1 << 20
    max_part_header_bytes: int = 16 << 10


@dataclass(slots=True)
class Form:
    """What a form held, in order. `parts[i]` came in the field `file_fields[i]`."""

    texts: list[tuple[str, str]] = field(default_factory=list)
    file_fields: list[str] = field(default_factory=list)
    parts: list[UploadPart] = field(default_factory=list)


class FormReader:
    """A push parser: `feed` every chunk of the body, then `close`."""

    def __init__(
        self,
        content_type: str,
        limits: FormLimits,
        takes_file: Callable[[str], bool],
        open_sink: Callable[[str], Sink],
        usual_field: str = "",
    ) -> None:
        """
        Args:
            takes_file: whether a file may come in the field of this name.
            usual_field: the one that clients use, for messages.
            open_sink: called once, with the first file's name.

        Raises:
            InvalidInput: a Content-Type without a usable boundary.
        """
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if not boundary:
            raise _bad("the Content-Type of the form has no boundary")
        self._limits = limits
        self._takes_file = takes_file
        self._usual_field = usual_field
        self._open_sink = open_sink
        self._sink: Sink | None = None
        self.form = Form()
        self._n_parts = self._n_text_bytes = self._n_file_bytes = self._n_epilogue_bytes = 0
        self._headers: dict[str, str] = {}
        self._header_name, self._header_value = bytearray(), bytearray()
        self._name = ""
        self._file_name: str | None = None
        self._value = bytearray()
        self._has_ended = False
        self._delimiter = b"--" + boundary
        # A line of its own; what only begins like it belongs to the preamble. A preamble may have other line ends, but
        # a form that has them throughout must not pass for an empty one.
        self._first = re.compile(
            rb"(?:\A|(?<=[\r\n]))%b([ \t]*)\r\n|(?:\A|(?<=\r\n))%b--" % ((re.escape(self._delimiter),) * 2)
        )
        self._preamble: bytearray | None = bytearray()
        """What came before the first boundary, and what may be its beginning; None once it came."""
        self._tail = b""
        """The end of what the parser took, as long as the last boundary may begin there."""
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": self._on_header_name,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._end_headers,
                    "on_part_data": self._on_data,
                    "on_part_end": self._end_part,
                    "on_end": self._end,
                },
                max_header_count=MAX_PART_HEADERS,
                max_header_size=limits.max_part_header_bytes,
            )
        except FormParserError as error:
            raise _bad(str(error)) from None

    def feed(self, chunk: bytes | bytearray | memoryview) -> None:
        """Take the next bytes of the body; they may be others afterwards.

        Raises:
            InvalidInput: no form, or a field that is not taken.
            TooLarge, NoSpace: a limit of the form; what the sink raises.
        """
        if self._has_ended:
            self._pass_epilogue(len(chunk))
            return
        if isinstance(chunk, memoryview):  # the parser searches, which a view cannot
            whole = chunk.obj
            chunk = whole if isinstance(whole, bytearray) and len(whole) == len(chunk) else bytes(chunk)
        if self._preamble is not None:
            found = self._behind_preamble(self._preamble, chunk)
            if found is None:
                return
            self._preamble, chunk = None, found
        try:
            self._parser.write(cast("bytes", chunk))  # it is only searched and sliced
        except FormParserError as error:
            raise _bad(str(error)) from None
        if self._has_ended:
            self._pass_epilogue(self._n_behind_last(chunk))
        else:
            n_last = len(self._delimiter) + 4
            self._tail = (self._tail + bytes(chunk[-n_last:]))[-n_last:]

    def _behind_preamble(self, preamble: bytearray, chunk: bytes | bytearray) -> bytes | bytearray | None:
        """What the parser begins with, once the first boundary is there whole."""
        if not preamble and chunk.startswith(self._delimiter + b"\r\n"):
            return chunk
        preamble += chunk
        window = MAX_PREAMBLE_BYTES + 2 + len(self._delimiter) + MAX_PADDING_BYTES + 2
        first = self._first.search(preamble, 0, window)
        if first is not None and first.start() <= MAX_PREAMBLE_BYTES + 2:
            padding = len(first[1] or b"")
            if not padding:
                return preamble[first.start() :]
            return preamble[first.start() : first.start(1)] + preamble[first.end(1) :]
        if len(preamble) >= window:
            raise _bad(f"{self._named_boundary()} does not come within its first {MAX_PREAMBLE_BYTES:,} bytes")
        return None

    def _n_behind_last(self, chunk: bytes | bytearray) -> int:
        """Bytes behind the last boundary, which ends in this chunk."""
        last = b"\r\n%s--" % self._delimiter
        at = chunk.find(last)
        if at >= 0:
            return len(chunk) - at - len(last)
        at = (self._tail + bytes(chunk[: len(last)])).find(last)  # -1: it is the first boundary, too
        return len(self._tail) + len(chunk) - (at + len(last) if at >= 0 else len(last) - 2)

    def _pass_epilogue(self, n_bytes: int) -> None:
        self._n_epilogue_bytes += n_bytes
        if self._n_epilogue_bytes > MAX_EPILOGUE_BYTES:
            raise _bad(f"more than {MAX_EPILOGUE_BYTES:,} bytes behind its last boundary")

    def _named_boundary(self) -> str:
        line = shorten(self._delimiter.decode("latin-1"))
        return f'the line "{line}" with CRLF, the boundary that its Content-Type names,'

    def close(self) -> Form:
        """The whole form. Raises InvalidInput where its last boundary never came."""
        if self._preamble is not None:
            raise _bad(f"{self._named_boundary()} never comes" if self._preamble else "the body is empty")
        if not self._has_ended:
            raise _bad("it ends in the middle, without its last boundary; send it again")
        return self.form

    # Callbacks of the parser, in the order of a part's life

    def _begin_part(self) -> None:
        self._headers = {}
        self._header_name, self._header_value = bytearray(), bytearray()
        self._value = bytearray()
        self._n_file_bytes = 0

    def _on_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._header_name.decode("latin-1").lower()] = self._header_value.decode("latin-1").strip()
        self._header_name, self._header_value = bytearray(), bytearray()

    def _end_headers(self) -> None:
        kind, options = parse_options_header(self._headers.get("content-disposition"))
        if kind != b"form-data" or b"name" not in options:
            raise _bad("a part of the form has no name")
        self._name = _decoded(options[b"name"])
        encoding = self._headers.get("content-transfer-encoding", "").lower()
        if encoding not in PLAIN_ENCODINGS:
            raise _bad(f"a part of the form is encoded as {shorten(encoding)}, which is not read")
        self._file_name = None
        client_name = _extended_name(self._headers["content-disposition"])
        if client_name is None and b"filename" in options:
            client_name = _decoded(options[b"filename"])
        if client_name is not None:
            self._begin_file(client_name)
        else:
            self._n_parts += 1
            if self._n_parts > self._limits.max_fields:
                raise TooLarge(f"the form has more than {self._limits.max_fields} fields")
            if self._takes_file(self._name):
                raise InvalidInput("a file is needed, with a file name", place=self._name, code="form.field")

    def _begin_file(self, client_name: str) -> None:
        if not self._takes_file(self._name):
            instead = f"; send it in the field {self._usual_field}" if self._usual_field else ""
            raise InvalidInput(f"no file is taken in this field{instead}", place=self._name, code="form.field")
        if len(self.form.parts) >= self._limits.max_files:
            raise TooLarge(f"the form has more than {self._limits.max_files} files; send it in parts")
        self._file_name = base_name(client_name, self._name)
        if self._sink is None:
            self._sink = self._open_sink(self._file_name)

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._file_name is not None:
            assert self._sink is not None
            self._sink.write(memoryview(data)[start:end])
            self._n_file_bytes += end - start
            return
        self._value += data[start:end]
        self._n_text_bytes += end - start
        if len(self._value) > self._limits.max_field_bytes or self._n_text_bytes > MAX_TEXT_BYTES:
            raise TooLarge(f"{shorten(self._name)}: the text is longer than {self._limits.max_field_bytes:,} bytes")

    def _end_part(self) -> None:
        if self._file_name is None:
            self.form.texts.append((self._name, _decoded(bytes(self._value))))
            return
        offset = self.form.parts[-1].offset + self.form.parts[-1].size if self.form.parts else 0
        self.form.file_fields.append(self._name)
        self.form.parts.append(UploadPart(self._file_name, offset, self._n_file_bytes))

    def _end(self) -> None:
        self._has_ended = True


def base_name(client_name: str, place: str = "filename") -> str:
    """The last component of a client's path, for `/` and `\\`.

    Raises:
        InvalidInput: nothing is left, or nothing that can name a file.
    """
    name = last_part(client_name)
    if (
        not name
        or name in (".", "..")
        or len(name) > MAX_NAME_CHARACTERS
        or any(ord(c) < 32 or c == "\x7f" for c in name)
    ):
        raise InvalidInput(f'"{shorten(client_name)}" is no file name', place=place, code="upload.name")
    return name


def _extended_name(disposition: str) -> str | None:
    """What `filename*=UTF-8''na%C3%AFve.png` says, as some clients write names beside (or without) a plain `filename`,
    in which they escape them; None where there is none.

    Source: RFC 5987; forms should not have it (RFC 7578), but CVAT takes it.
    """
    found = _EXTENDED_NAME.search(_QUOTED.sub("", disposition))
    return None if found is None else _decoded(unquote_to_bytes(found[1]))


def _decoded(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        raise _bad("a name or text of the form is not UTF-8") from None


def _bad(message: str) -> InvalidInput:
    return InvalidInput(f"the form cannot be read: {message}", code="form.malformed")
