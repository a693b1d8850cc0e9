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


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("filename*=UTF-8''%C3%BC%20%22.png", 'ü ".png'),
        ("filename=\"%C3%BC.png\"; filename*=utf-8'en'%C3%BC.png", "ü.png"),
        ("filename*=utf-8''x%2F..%2Fa.png; filename=b.png", "a.png"),
        ("filename=\"a; filename*=UTF-8''b.png\"", "a; filename*=UTF-8''b.png"),
        ("filename=\"a.png\"; filename*=latin9''b.png", "a.png"),
    ],
)
def test_an_extended_name_is_read(option: str, name: str) -> None:
    body, headers = raw_form([(f'name="client_files[0]"; {option}', b"x")])
    assert read(body, headers["Content-Type"])[0].parts[0].name == name


@pytest.mark.parametrize("name", ["", "/", "a/", "..", ".", "a/..", "\\", "a\x01b", "x" * 2000])
def test_what_cannot_name_a_file_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        base_name(name)


FORM = raw_form([('name="a"', b"text"), ('name="client_files"; filename="f"', b"\r\n--X\r\n--XX-\r\n--XXY")])[0]
BEFORE = {
    "nothing": b"",
    "empty line": b"\r\n",
    "empty lines": b"\r\n\n\r",
    "a line": b"This is a form.\r\n",
    "a line that ends by LF": b"This is a form.\n",
    "a line that ends by CR": b"This is a form.\r",
    "hyphens": b"-\r\n--\r\n---\r\n--X\r\n\r\n--",
    "what begins like the boundary": b"--X\r\n--XXY\r\n--XX-\r\n--XX\rb\r\n--XX \t.\r\n",
    "the boundary within a line": b"see --XX\r\nand --XX--\r\n",
    "as long as may be": b"p" * 4096 + b"\r\n",
}


@pytest.mark.parametrize("before", [v if len(v) < 100 else b"p" * 90 + b"\r\n" for v in BEFORE.values()], ids=BEFORE)
@pytest.mark.parametrize("after", [b"", b"This was a form.\r\n", b"--XX\r\n\r\n--XX--\r\n" * 3])
def test_what_stands_around_a_form_is_passed_over_wherever_it_is_cut(before: bytes, after: bytes) -> None:
    if before.endswith(b"--"):
        before += b"\r\n"
    body = before + FORM + after
    expected = read(FORM, "multipart/form-data; boundary=XX")
    for at in range(len(body) + 1):
        sink = Bytes()
        reader = FormReader("multipart/form-data; boundary=XX", FormLimits(), lambda n: n != "a", lambda n, s=sink: s)
        reader.feed(body[:at])
        reader.feed(memoryview(bytearray(body[at:])))
        assert (reader.close(), bytes(sink.data)) == expected
    for chunk in (1, 2, 3, 7):
        assert read(body, "multipart/form-data; boundary=XX", chunk) == expected


@pytest.mark.parametrize("chunk", [1, 7, 4096, 1 << 20])
@pytest.mark.parametrize("end", [b"\r\n", b"\n", b""])
def test_what_stands_around_a_form_is_measured(chunk: int, end: bytes) -> None:
    for n, is_taken in ((4096, True), (4099, False), (200_000, False)):
        for body in (b"p" * n + (end or b"\r") + FORM, FORM[:-2] + (end + b"e" * n)[:n], b"--XX--" + b"e" * n):
            if is_taken:
                read(body, "multipart/form-data; boundary=XX", chunk)
                continue
            with pytest.raises(InvalidInput, match=r"(within|behind).* 4,096 bytes|4,096 bytes behind"):
                read(body, "multipart/form-data; boundary=XX", chunk)


def test_blanks_behind_a_boundary_are_passed_over() -> None:
    padded = FORM.replace(b"--XX\r\n", b"--XX \t\r\n", 1)
    for chunk in (1, 5, 4096):
        assert read(padded, "multipart/form-data; boundary=XX", chunk) == read(FORM, "multipart/form-data; boundary=XX")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "the body is empty"),
        (
            raw_form([('name="a"', b"x")], "YY")[0],
            '"--XX" with CRLF, the boundary that its Content-Type names, never comes',
        ),
        (FORM.replace(b"\r\n", b"\n"), "never comes"),
        (FORM[:-4], "ends in the middle"),
        (b"p" * 9999 + FORM, "does not come within its first 4,096 bytes"),
    ],
)
def test_what_is_wrong_with_a_form_is_told(body: bytes, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        read(body, "multipart/form-data; boundary=XX")


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
    "an extended name of control characters": raw_form([("name=client_files; filename*=UTF-8''a%00", b"x")])[0],
    "an extended name that is no UTF-8": raw_form([("name=client_files; filename*=UTF-8''a%FF", b"x")])[0],
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
