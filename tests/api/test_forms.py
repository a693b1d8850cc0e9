"""multipart/form-data, however it is cut and whatever is in it."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.api.forms import Form, FormLimits, FormReader, base_name
from app.errors import InvalidInput, TooLarge
from tests.api.working import in_chunks, raw_form


class Bytes:
    """A sink in memory."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.data += data


def read(body: bytes, content_type: str, chunk: int = 1 << 16, limits: FormLimits | None = None) -> tuple[Form, bytes]:
    sink = Bytes()
    reader = FormReader(
        content_type, limits or FormLimits(), lambda name: name.startswith("client_files"), lambda name: sink
    )
    for piece in in_chunks(body, chunk):
        reader.feed(piece)
    return reader.close(), bytes(sink.data)


names = st.text(st.characters(min_codepoint=32, exclude_characters='"\\/\x7f', exclude_categories=["Cs"]), min_size=1)
contents = st.binary(max_size=40) | st.sampled_from([b"\r\n--XX", b"--XX--\r\n", b"\r\n--X", b"\r", b"\n\r\n"])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(names.filter(lambda n: n not in (".", "..")), contents), max_size=6), st.integers(1, 30))
def test_files_come_back_however_the_body_is_cut(files: list[tuple[str, bytes]], chunk: int) -> None:
    boundary = "b0undary" * 4
    parts = [(f'name="client_files[{i}]"; filename="{name}"', data) for i, (name, data) in enumerate(files)]
    body, headers = raw_form([('name="image_quality"', b"70"), *parts], boundary)
    form, data = read(body, headers["Content-Type"], chunk)
    assert form.texts == [("image_quality", "70")]
    assert [(part.name, data[part.offset : part.offset + part.size]) for part in form.parts] == files
    assert len(data) == sum(len(content) for _, content in files)


@pytest.mark.parametrize(
    ("client_path", "name"),
    [
        ("/home/me/x/a.png", "a.png"),
        ("C:\\Users\\me\\ä b.png", "ä b.png"),
        ("a.png", "a.png"),
        ("../../etc/passwd", "passwd"),
        ("a;b.png", "a;b.png"),
    ],
)
def test_a_path_becomes_its_last_component(client_path: str, name: str) -> None:
    body, headers = raw_form([(f'name="client_files[0]"; filename="{client_path}"', b"x")])
    assert read(body, headers["Content-Type"])[0].parts[0].name == name
    assert base_name(client_path) == name


@pytest.mark.parametrize("name", ["", "/", "a/", "..", ".", "a/..", "\\", "a\x01b", "x" * 2000])
def test_what_cannot_name_a_file_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        base_name(name)


BAD = {
    "cut in a file": raw_form([('name="client_files"; filename="a"', b"xyz")])[0][:-12],
    "cut before the end": raw_form([('name="client_files"; filename="a"', b"xyz")])[0][:-6],
    "empty": b"",
    "another boundary": raw_form([('name="client_files"; filename="a"', b"x")], "YY")[0],
    "no name": raw_form([('filename="a"', b"x")])[0],
    "a file in another field": raw_form([('name="other"; filename="a"', b"x")])[0],
    "a text in a file's field": raw_form([('name="client_files[0]"', b"x")])[0],
    "no UTF-8": b'--XX\r\nContent-Disposition: form-data; name="a"\r\n\r\n\xff\r\n--XX--\r\n',
    "long preamble": b"p" * 5000 + raw_form([('name="a"', b"x")])[0],
    "long epilogue": raw_form([('name="a"', b"x")])[0] + b"e" * 100_000,
    "huge part header": raw_form([('name="client_files"; filename="' + "a" * 20_000 + '"', b"x")])[0],
    "encoded": raw_form([('name="a"\r\nContent-Transfer-Encoding: base64', b"eA==")])[0],
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
def test_what_is_no_form_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        read(body, "multipart/form-data; boundary=XX", 4096)


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=", "x" * 500])
def test_a_boundary_is_needed(content_type: str) -> None:
    with pytest.raises(InvalidInput):
        read(b"--XX--\r\n", content_type)


def test_limits_hold() -> None:
    limits = FormLimits(max_files=2, max_fields=2, max_field_bytes=10)
    file = ('name="client_files"; filename="a"', b"x" * 100)
    body, headers = raw_form([file, file])
    assert len(read(body, headers["Content-Type"], limits=limits)[0].parts) == 2
    for parts in ([file] * 3, [('name="a"', b"x")] * 3, [('name="a"', b"x" * 11)]):
        body, headers = raw_form(parts)
        with pytest.raises(TooLarge):
            read(body, headers["Content-Type"], limits=limits)


def test_thousands_of_files_keep_their_order() -> None:
    files = [(f'name="client_files[{i}]"; filename="/x/{i}.png"', os.urandom(i % 50)) for i in range(5000)]
    body, headers = raw_form(files)
    form, data = read(body, headers["Content-Type"])
    assert [part.name for part in form.parts] == [f"{i}.png" for i in range(5000)]
    assert data == b"".join(content for _, content in files)
