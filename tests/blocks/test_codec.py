"""Columns as bytes and back, for any values and any division into blocks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.blocks import codec
from app.blocks.codec import (
    decode_arrays,
    decode_lines,
    decode_ragged,
    decode_texts,
    encode_array,
    encode_ragged,
    encode_texts,
    encoder,
)
from app.columns import PackedRagged, Ragged, StoredLines, Texts, WholeRagged
from app.deflate import deflate_text, inflate_piece
from app.errors import Damaged

DTYPES = ("i8", "i4", "u1", "u4", "f8", "?")


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    pool = draw(st.lists(st.integers(0, 255), min_size=1, max_size=4))
    values = draw(st.lists(st.sampled_from(pool), max_size=20))
    kind = draw(st.sampled_from(("pool", "range", "special")))
    if kind == "range" and dtype.kind == "i":
        return np.arange(pool[0], pool[0] + len(values), dtype=dtype)
    if kind == "special" and dtype.kind == "f":
        return np.array([(np.nan, np.inf, -0.0, 0.0)[value % 4] for value in values], dtype=dtype)
    return np.array(values).astype(dtype)


@given(st.lists(arrays(), min_size=1, max_size=4))
def test_arrays_come_back_bit_by_bit(parts: list[np.ndarray]) -> None:
    parts = [part for part in parts if part.dtype == parts[0].dtype]
    found = decode_arrays([encode_array(part) for part in parts], [len(part) for part in parts], parts[0].dtype)
    assert found.dtype == parts[0].dtype
    assert found.tobytes() == np.concatenate(parts).tobytes()
    assert found.flags.aligned
    assert found.flags.writeable


@given(st.lists(st.lists(st.lists(st.integers(-5, 5), max_size=5), max_size=6), min_size=1, max_size=4))
def test_ragged_columns_come_back(parts: list[list[list[int]]]) -> None:
    whole = Ragged.from_arrays([row for part in parts for row in part], np.int32)
    edges = np.cumsum([0, *map(len, parts)]).tolist()
    blobs = [encode_ragged(whole, start, stop) for start, stop in itertools.pairwise(edges)]
    found = decode_ragged(blobs, [len(part) for part in parts], np.int32)
    assert found.offsets.tolist() == whole.offsets.tolist()
    assert found.values.tolist() == whole.values.tolist()


@given(st.lists(st.lists(st.one_of(st.binary(max_size=3), st.lists(st.integers(0, 3)))), min_size=1, max_size=4))
def test_packed_rows_come_back_packed(parts: list[list[bytes | list[int]]]) -> None:
    rows = [row for part in parts for row in part]
    cells = Ragged.from_bytes([row if isinstance(row, bytes) else b"" for row in rows])
    plain = Ragged.from_arrays([row if isinstance(row, list) else [] for row in rows], np.int32)
    encode = encoder(PackedRagged(cells, plain, lambda row: row))
    assert callable(encode)
    edges = np.cumsum([0, *map(len, parts)]).tolist()
    blobs = [encode(start, stop) for start, stop in itertools.pairwise(edges)]
    found = decode_ragged(blobs, [len(part) for part in parts], np.int32, lambda row: row)
    assert isinstance(found, PackedRagged) == any(cells.lengths)
    if isinstance(found, PackedRagged):
        assert found.packed.to_bytes_list() == cells.to_bytes_list()
        found = found.plain
    assert found.offsets.tolist() == plain.offsets.tolist()
    assert found.values.tolist() == plain.values.tolist()


def test_packed_rows_that_are_cut_off_or_elsewhere_are_damaged() -> None:
    column = PackedRagged(Ragged.from_bytes([b"abc"]), Ragged.empty(np.int32, 1), lambda row: row)
    encode = encoder(column)
    assert callable(encode)
    blob = encode(0, 1)
    for wrong in (blob[:-3], blob.replace(b"\x05abc", b"\x00abc"), blob.replace(b"\x05abc\x00", b"")):
        with pytest.raises(Damaged, match="packed rows is cut off"):
            decode_ragged([wrong], [1], np.int32, lambda row: row)
    with pytest.raises(Damaged):
        decode_ragged([blob], [1], np.int32)  # a column that has none


@given(st.lists(st.lists(st.sampled_from(["", "a", 'q"uote', "ünï\n", "日本"]), max_size=6), min_size=1, max_size=4))
def test_texts_come_back(parts: list[list[str]]) -> None:
    whole = Texts.from_list([text for part in parts for text in part])
    edges = np.cumsum([0, *map(len, parts)]).tolist()
    blobs = [encode_texts(whole, start, stop) for start, stop in itertools.pairwise(edges)]
    assert decode_texts(blobs, [len(part) for part in parts]).to_list() == whole.to_list()


def test_long_texts_take_little_and_their_damage_is_told() -> None:
    texts = [f'[{{"spec_id":{n % 7},"value":"é{n}"}}]' for n in range(200)]
    column = Texts.from_list(texts)
    blob = encode_texts(column, 0, 200)
    assert len(blob) < sum(map(len, texts)) / 2
    assert decode_texts([blob, blob], [200, 200]).to_list() == texts * 2
    start = 4 + int.from_bytes(blob[:4], "little")
    for bad in (blob[:-3], blob[: start + 3], blob[: start + 1] + b"\xff" + blob[start + 2 :], blob[:start] + b"\x02x"):
        with pytest.raises(Damaged):
            decode_texts([bad], [200])


def test_long_texts_with_line_ends_come_back() -> None:
    texts = ["a" * 600, "b\nc", "", "\n" * 3]
    assert decode_texts([encode_texts(Texts.from_list(texts), 0, 4)], [4]).to_list() == texts


def test_texts_of_the_earlier_way_are_read() -> None:
    blob = encode_texts(Texts.from_list(["x", "y"]), 0, 2)
    assert blob.endswith(b'["x","y"]')


@given(arrays(), st.booleans())
def test_columns_by_their_encoder_are_the_same(values: np.ndarray, are_lines: bool) -> None:
    if len(values) == 0:
        return
    large = np.concatenate([values] * 50)
    lengths = np.resize(np.array([0, 2, 1]), len(large)) if values.dtype.kind == "u" else np.ones(len(large))
    texts = Texts.from_list([str(value) for value in large.tolist()])
    ragged = Ragged.from_arrays([large[:length] for length in lengths.astype(int).tolist()], large.dtype)
    edges = [0, 1, len(large) // 2, len(large)]
    rows = np.diff(edges).tolist()
    are_lines = are_lines and large.dtype == np.uint8

    def blobs(column: object) -> list[bytes]:
        found = encoder(column, are_lines=are_lines and column is ragged)
        return [found if isinstance(found, bytes) else found(start, stop) for start, stop in itertools.pairwise(edges)]

    assert decode_arrays(blobs(large), rows, large.dtype).tobytes() == large.tobytes()
    assert decode_texts(blobs(texts), rows).to_list() == texts.to_list()
    found = decode_lines(blobs(ragged), rows) if are_lines else decode_ragged(blobs(ragged), rows, large.dtype)
    assert found.offsets.tolist() == ragged.offsets.tolist()
    assert found.values.tobytes() == ragged.values.tobytes()


@given(
    st.lists(
        st.lists(st.sampled_from([b"", b"a,b", b'a,"x\ny"', b"z" * 300, "ünï".encode()]), min_size=1, max_size=90),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from([1, 400, 1 << 20]),
)
def test_lines_come_back_whatever_form_their_block_has(parts: list[list[bytes]], text_from: int) -> None:
    column = Ragged.from_bytes([line for part in parts for line in part])
    edges = np.cumsum([0, *map(len, parts)]).tolist()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codec, "SMALL_BYTES", text_from)
        encode = encoder(column, are_lines=True)
        blobs = [
            encode if isinstance(encode, bytes) else encode(start, stop) for start, stop in itertools.pairwise(edges)
        ]
    found = decode_lines(blobs, list(map(len, parts)))
    assert isinstance(found, StoredLines) == any(
        size >= text_from and not isinstance(encode, bytes)
        for size in (sum(map(len, part)) + len(part) for part in parts)
    )
    assert found.lengths.tolist() == column.lengths.tolist()
    if isinstance(found, StoredLines):
        for part, piece in zip(parts, found.whole_parts(np.array(edges)), strict=True):
            text = b"".join(line + b"\n" for line in part)
            assert piece is None or (inflate_piece(piece.packed, piece.size), piece) == (text, deflate_text(text))
    assert found.to_bytes_list() == column.to_bytes_list()


def test_texts_of_lines_are_small_and_their_damage_is_told() -> None:
    lines = Ragged.from_bytes([b"0123456789abcdef,/m/01,0.%06d" % number for number in range(2000)])
    encode = encoder(lines, are_lines=True)
    assert callable(encode)
    blob = encode(0, 2000)
    assert len(blob) < 20_000
    start = 4 + int.from_bytes(blob[:4], "little")
    assert blob[start] == 6
    cut = blob[: start + 3]
    with pytest.raises(Damaged):
        decode_lines([cut], [2000])
    for bad in (blob[:-300], blob[: start + 50] + b"xx" + blob[start + 52 :], blob[: start + 5] + b"\x07"):
        found = decode_lines([bad], [2000])
        with pytest.raises(Damaged, match="lines cannot be read"):
            _ = found.values


def test_lines_of_the_earlier_way_are_read() -> None:
    lines = Ragged.from_bytes([b"0123456789abcdef,/m/01,0.%06d" % number for number in range(2000)])
    blob = encode_ragged(lines, 0, 2000, deflate=True)
    assert blob[4 + int.from_bytes(blob[:4], "little")] == 3
    assert decode_lines([blob], [2000]).to_bytes_list() == lines.to_bytes_list()


def test_deflated_values_are_smaller_and_their_damage_is_told() -> None:
    values = np.tile(np.arange(100, dtype=np.uint8), 100)
    blob = encode_array(values, deflate=True)
    assert len(blob) < 1000
    assert decode_arrays([blob], [10_000], np.uint8).tobytes() == values.tobytes()
    for bad in (blob[:-3], blob[:50] + b"xx" + blob[52:], b"\x03"):
        with pytest.raises(Damaged):
            decode_arrays([bad], [10_000], np.uint8)


def test_whole_numbers_take_a_quarter_and_come_back_bit_by_bit() -> None:
    random = np.random.default_rng(1)
    values = random.integers(-32767, 32768, 1000).astype(np.float64)
    blob = encode_array(values)
    assert len(blob) == 2001
    assert decode_arrays([blob], [1000], np.float64).tobytes() == values.tobytes()
    for strange in (0.5, -0.0, 32768.0, -32769.0, np.nan, np.inf):
        for place in (0, 500, 999):
            other = values.copy()
            other[place] = strange
            blob = encode_array(other)
            assert len(blob) == 8001
            assert decode_arrays([blob], [1000], np.float64).tobytes() == other.tobytes()


@pytest.mark.parametrize("seed", range(8))
def test_blocks_of_whole_numbers_stay_whole_where_that_is_wanted(seed: int) -> None:
    chance = np.random.default_rng(seed)
    parts = []
    for _ in range(chance.integers(1, 6)):
        lengths = chance.integers(0, 90, chance.integers(1, 5))
        step = 1 if chance.random() < 0.6 else 4
        rows = [chance.integers(-400, 400, length) / step for length in lengths.tolist()]
        parts.append(Ragged.from_arrays(rows, np.float64))
    blobs, counts = [encode_ragged(part, 0, len(part)) for part in parts], list(map(len, parts))
    found = decode_ragged(blobs, counts, np.float64, keep_whole=True)
    expected = decode_ragged(blobs, counts, np.float64)
    assert isinstance(found, WholeRagged) == any(blob[4 + int.from_bytes(blob[:4], "little")] == 4 for blob in blobs)
    assert (found.values.tobytes(), found.offsets.tolist()) == (expected.values.tobytes(), expected.offsets.tolist())
    again = encoder(found)
    assert not isinstance(again, bytes)
    edges = np.cumsum([0, *counts]).tolist()
    assert [again(start, stop) for start, stop in itertools.pairwise(edges)] == blobs
    for blob, count in zip(blobs, counts, strict=True):
        if blob[4 + int.from_bytes(blob[:4], "little")] == 4:
            with pytest.raises(Damaged):
                decode_ragged([blob[:-1]], [count], np.float64, keep_whole=True)


def test_equal_values_take_one_value() -> None:
    assert len(encode_array(np.full(1000, 7, dtype=np.int64))) == 9
    assert len(encode_array(np.arange(5, 1005, dtype=np.int64))) == 9


@pytest.mark.parametrize(
    "blob",
    [b"", b"\x09abcd", b"\x00abc", b"\x00" + bytes(12), b"\x00" + bytes(4), b"\x01"],
    ids=["empty", "format", "odd", "short", "one for all", "none"],
)
def test_damaged_arrays_are_told(blob: bytes) -> None:
    with pytest.raises(Damaged):
        decode_arrays([blob], [4], np.int32)


def test_damaged_texts_are_told() -> None:
    good = encode_texts(Texts.from_list(["a", "b"]), 0, 2)
    for blob in (good[:3], good[:-1], good[:-5] + b'"a"]'):
        with pytest.raises(Damaged):
            decode_texts([blob], [2])
