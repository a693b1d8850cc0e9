"""The headers of resumable uploads: tus 1.0.0 with the extension `creation`, as CVAT's clients speak it.

    POST  Upload-Length, Upload-Metadata          → 201 Location, Upload-Filename
    PATCH Upload-Offset, offset+octet-stream      → 204 Upload-Offset   (409 with the true one)
    HEAD                                          → 200 Upload-Offset, Upload-Length

Source: tus.io/protocols/resumable-upload, 1.0.x.
"""

from __future__ import annotations

import base64
import binascii

from starlette.datastructures import Headers

from app.api.errors import WrongMediaType
from app.api.forms import base_name
from app.errors import AppError, InvalidInput, shorten

VERSION = "1.0.0"
CHUNK_TYPE = "application/offset+octet-stream"
MAX_METADATA_BYTES = 8 << 10
MAX_DIGITS = 18
HEADERS = {"Tus-Resumable": VERSION, "Cache-Control": "no-store"}


class WrongVersion(AppError):
    """A version of the protocol that is not spoken here."""

    code = "upload.version"


def offer(max_bytes: int) -> dict[str, str]:
    """What OPTIONS tells, and 412."""
    return {**HEADERS, "Tus-Version": VERSION, "Tus-Extension": "creation", "Tus-Max-Size": str(max_bytes)}


def check_version(headers: Headers) -> None:
    """Clients that leave the header out are taken at their word. Raises WrongVersion."""
    version = headers.get("tus-resumable", VERSION)
    if version != VERSION:
        raise WrongVersion(f"tus {shorten(version)} is not spoken here, only {VERSION}")


def check_chunk_type(headers: Headers) -> None:
    """Raises WrongMediaType."""
    if headers.get("content-type", "").split(";")[0].strip().lower() != CHUNK_TYPE:
        raise WrongMediaType(f"a chunk of an upload has the Content-Type {CHUNK_TYPE}")


def parse_size(headers: Headers, name: str) -> int:
    """A header of ASCII digits. Raises InvalidInput."""
    told = headers.getlist(name)
    if len(told) != 1:
        how = "missing" if not told else "there more than once"
        raise InvalidInput(f"the header {name} is {how}", code="upload.header")
    text = told[0]
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
        raise InvalidInput(f'{name}: "{shorten(text)}" is no number of bytes', code="upload.header")
    return int(text)


def parse_metadata(text: str) -> dict[str, str]:
    """`key base64, key base64, …`; a value may be missing. Raises InvalidInput."""
    if len(text) > MAX_METADATA_BYTES:
        raise InvalidInput(f"Upload-Metadata is longer than {MAX_METADATA_BYTES} bytes", code="upload.metadata")
    found: dict[str, str] = {}
    for pair in filter(None, (pair.strip(" ") for pair in text.split(","))):
        key, _, value = pair.partition(" ")
        try:
            found[key] = base64.b64decode(value.strip(" "), validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError, ValueError):
            raise InvalidInput(
                f"Upload-Metadata: the value of {shorten(key)} is not base64 of UTF-8", code="upload.metadata"
            ) from None
    return found


def plain_filename(metadata: dict[str, str]) -> str:
    """The announced file name: one component, never a path. Raises InvalidInput."""
    name = metadata.get("filename") or metadata.get("name")
    if not name:
        raise InvalidInput("Upload-Metadata names no file: filename is missing", code="upload.metadata")
    if base_name(name, "Upload-Metadata") != name or len(name) > 256:
        raise InvalidInput(f'"{shorten(name)}" is no plain file name', place="Upload-Metadata", code="upload.name")
    return name
