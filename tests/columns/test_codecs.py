"""Cells to numbers, flags, texts and runs, and numbers to text: each beside its slow twin."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.columns import (
    Cells,
    Numbers,
    Ragged,
    TextIndex,
    decode_flags,
    decode_naturals,
    decode_numbers,
    decode_runs,
    decode_texts,
    encode_integers,
    encode_numbers,
)
from tests import reference_columns as reference


def cells_of(texts: Sequence[str | bytes], spread: bool = False) -> Cells:
    """The texts as cells; `spread`: out of order in a buffer of their own, with other bytes around them."""
    raw = [text.encode() if isinstance(text, str) else text for text in texts]
    if not spread:
        return Cells.of(Ragged.from_bytes(raw))
    buffer, places = bytearray(b"7-"), {}
    for row in random.Random(len(raw)).sample(range(len(raw)), len(raw)):
        places[row] = (len(buffer), len(buffer) + len(raw[row]))
        buffer += raw[row] + b"1."[: row % 3]
    bounds = np.array([places[row] for row in range(len(raw))], dtype=np.int64).reshape(-1, 2)
    return Cells(np.frombuffer(bytes(buffer), dtype=np.uint8), bounds[:, 0].copy(), bounds[:, 1].copy())


def same_number(numbers: Numbers, row: int, expected: float | str) -> bool:
    """Bit for bit, and with exactly the mask that belongs to it."""
    masks = {"empty": numbers.empty[row], "not_number": numbers.not_number[row], "not_finite": numbers.not_finite[row]}
    if isinstance(expected, str):
        return bool(masks.pop(expected)) and not any(masks.values()) and math.isnan(numbers.values[row])
    return not any(masks.values()) and struct.pack("d", numbers.values[row]) == struct.pack("d", expected)


NUMBERS = (
    "0 1 -1 +1 -0 -0.0 0.5 .5 5. -.5 +.5e3 1e5 1E+5 1e-5 0.123456 0.1234567 0.12345678 0.123456789012345 "
    "0.30000000000000004 123456789.25 1234567890123456 9007199254740991 9007199254740992 9007199254740993 "
    "900719925474099.3 9.007199254740993 0.0000000000000001 99999999 100000000 999999999.9999999 00000000000000.1 "
    "1.7976931348623157e308 4.9e-324 2.5e-324 1e-400 2.2250738585072014e-308 0.1e1 1e0 1e00000000005 " + "1" * 300 + " "
    "0." + "0" * 80 + "1 " + "9" * 70
).split()
NOT_NUMBERS = [
    *("-", "+", ".", "-.", "+.", "e5", "1e", "1e+", ".e5", "1.2.3", "1..2", "-+1", "--1", "1-", "1,5", "1_000", "0x10"),
    *("1f", "abc", "1a", "a1", "٣", "１", "1e5.5", "1e5e5", "½", "∞", "infinit", "nane"),
    "1 2",
    "1\0",
    "\0",
    "1\0\0",
    "1.5\x002",
    "1\u00a0",
    "x" * 100,
    "1" * 100 + "x",
    "0.12345678x",
    "x.12345678",
    "0.1234.678",
    "01234.67.9",
    "0123.4567890.23",
]
NOT_FINITE = ["nan", "NaN", "NAN", "inf", "-inf", "+inf", "Infinity", "-INFINITY", "+nan", "1e309", "-1e309"]
NOT_FINITE += ["1e99999", "9" * 400]


@given(st.lists(st.text("0123456789. -+ex", max_size=10)))
def test_naturals_are_digits_and_nothing_else(texts: list[str]) -> None:
    for spread in (False, True):
        values, good = decode_naturals(cells_of([*texts, "00000001", "99999999", "/", ":"], spread))
        plain = [text.isascii() and text.isdigit() and len(text) <= 8 for text in [*texts, "1", "9", "/", ":"]]
        assert good.tolist() == plain
        assert values.tolist() == [
            int(text) if fits else 0 for text, fits in zip([*texts, "1", "99999999", "/", ":"], plain, strict=True)
        ]


@pytest.mark.parametrize("text", NUMBERS)
@pytest.mark.parametrize("around", ["{}", " {}", "{}\t", "\r\n\v\f  {}  \t", " " * 30 + "{}" + " " * 30])
def test_a_decimal_is_the_double_that_python_reads(text: str, around: str) -> None:
    assert same_number(decode_numbers(cells_of([around.format(text)])), 0, float(text))


@pytest.mark.parametrize("text", NOT_NUMBERS, ids=ascii)
def test_anything_else_is_no_number(text: str) -> None:
    assert same_number(decode_numbers(cells_of([text])), 0, "not_number")


@pytest.mark.parametrize("text", NOT_FINITE)
def test_what_is_too_large_or_no_quantity_is_not_finite(text: str) -> None:
    assert same_number(decode_numbers(cells_of([text])), 0, "not_finite")


@pytest.mark.parametrize("text", ["", " ", "\t \r\n", " " * 40])
def test_white_space_is_an_empty_number(text: str) -> None:
    assert same_number(decode_numbers(cells_of([text])), 0, "empty")


def random_numbers(rng: random.Random, n: int) -> list[str]:
    makers = [
        lambda: f"{rng.random():.6f}",
        lambda: f"{rng.uniform(-2, 2):.{rng.randrange(13)}f}",
        lambda: repr(rng.random()),
        lambda: repr(rng.random() * 10.0 ** rng.randrange(-12, 12)),
        lambda: repr(struct.unpack("d", rng.randbytes(8))[0]),
        lambda: str(rng.choice([0, 1, -1])),
        lambda: "".join(rng.choices("0123456789", k=rng.randrange(1, 20))),
        lambda: "".join(rng.choices("0123456789.", k=rng.randrange(1, 20))),
        lambda: "".join(rng.choices("0123456789.+-eE ", k=rng.randrange(24))),
        lambda: "".join(rng.choices("01.x é\0_", k=rng.randrange(12))),
        lambda: rng.choice(["", " ", "nan", "1e999"]),
    ]
    return [rng.choice(makers)() for _ in range(n)]


@pytest.mark.parametrize("n", [0, 1, 2, 5000])
@pytest.mark.parametrize("spread", [False, True], ids=["in order", "spread"])
@pytest.mark.parametrize("seed", range(5))
def test_numbers_are_those_of_the_slow_twin(n: int, spread: bool, seed: int) -> None:
    texts = random_numbers(random.Random(seed), n)
    numbers = decode_numbers(cells_of(texts, spread))
    wrong = [text for row, text in enumerate(texts) if not same_number(numbers, row, reference.number(text))]
    assert wrong == []
    assert len(numbers.values) == n


@pytest.mark.parametrize("decimals", range(17))
def test_short_decimals_are_exact(decimals: int) -> None:
    rng = random.Random(decimals)
    texts = [
        f"{sign}{rng.randrange(10 ** rng.randrange(1, 9))}.{rng.randrange(10**decimals):0{decimals}d}"
        for sign in ("", "-")
        for _ in range(500)
    ]
    numbers = decode_numbers(cells_of(texts))
    assert numbers.values.tolist() == [float(text) for text in texts]


@pytest.mark.parametrize("place", range(8))
def test_any_byte_in_a_number_of_six_decimals_is_judged_as_the_slow_twin_does(place: int) -> None:
    texts = [bytes([*b"7.123456"[:place], byte, *b"7.123456"[place + 1 :]]) for byte in range(256)]
    texts += [text[:length] for text in texts for length in (place + 1, 7)]
    judged = [reference.number("".join(chr(byte) if byte < 128 else "?" for byte in text)) for text in texts]
    for n in (len(texts), 256):  # beside shorter ones, and not
        numbers = decode_numbers(Cells.of(Ragged.from_bytes(texts[:n])))
        assert all(same_number(numbers, row, judged[row]) for row in range(n))


def hard_decimals() -> dict[str, list[str]]:
    """Decimals of 16 to 19 digits where a wrong last bit would show."""
    rng = random.Random(17)
    integers = [rng.randrange(10**15, 10 ** rng.randrange(16, 20)) for _ in range(3000)]
    whole = [float(rng.randrange(2**52, 2**53)) for _ in range(1000)]
    middles = [(Decimal(value) + Decimal("0.5")) / 2**shift for value in whole for shift in (1, 3, 8)]
    around = []
    for exponent in range(-10, 63):
        value = 2.0**exponent
        for step in (0.0, math.inf, 0.0, math.inf, math.inf):
            value = math.nextafter(value, step)
            around.append(format(Decimal(value), "f"))
    return {
        "full length": [repr(rng.random() * 10.0 ** rng.randrange(-4, 8)) for _ in range(3000)],
        "integers": [str(integer) for integer in integers],
        "points anywhere": [
            f"{integer // 10**n}.{integer % 10**n:0{n}d}" for integer in integers for n in (1, 7, 16, 22)
        ],
        "middles of doubles": [format(middle, "f")[:24] for middle in middles],
        "next to middles": [format(middle, "f")[:17] + rng.choice(["4999", "5", "5001"]) for middle in middles],
        "powers of two": [text[:length] for text in around for length in (18, 20, 22, 24)],
        "sums of 64 bits": [
            str(2**64 - 1),
            str(10**19 - 1),
            "9" * 19,
            "9999999999999999999.9",
            "1" + "0" * 19,
            "0" * 23,
        ],
    }


@pytest.mark.parametrize("texts", hard_decimals().values(), ids=hard_decimals().keys())
def test_long_decimals_are_rounded_as_python_rounds(texts: list[str]) -> None:
    texts = [sign + text for text in texts for sign in ("", "-")]
    expected = np.array([float(text) for text in texts])
    assert decode_numbers(cells_of(texts)).values.tobytes() == expected.tobytes()


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(alphabet="0123456789.-+eE naif", max_size=26), max_size=8))
def test_any_text_is_judged_as_the_slow_twin_does(texts: list[str]) -> None:
    numbers = decode_numbers(cells_of(texts))
    assert all(same_number(numbers, row, reference.number(text)) for row, text in enumerate(texts))


FLAGS = ["0", "1", "-1", "0.0", "1.0", "-1.0", "true", "TRUE", "True", "false", "False", "yes", "YES", "no", "No", "nO"]
NOT_FLAGS = [
    "2",
    "-2",
    "10",
    "01",
    "+1",
    "-0",
    "1.",
    ".0",
    "1.00",
    "tru",
    "truee",
    "y",
    "n",
    "t",
    "f",
    "on",
    "-",
    "1\0",
    "\0",
]
NOT_FLAGS += ["-1\0", "true\0", "yes ja nein", "ｙｅｓ", "falsefalse", "`rue", "\x14rue"]


@pytest.mark.parametrize("text", FLAGS)
def test_a_flag_is_understood(text: str) -> None:
    flags = decode_flags(cells_of([f" {text}\t"]))
    assert (flags.values.tolist(), flags.empty.tolist(), flags.bad.tolist()) == (
        [reference.flag(text)],
        [False],
        [False],
    )


@pytest.mark.parametrize("text", NOT_FLAGS, ids=ascii)
def test_another_text_is_a_bad_flag(text: str) -> None:
    flags = decode_flags(cells_of([text]))
    assert (flags.values.tolist(), flags.empty.tolist(), flags.bad.tolist()) == ([-1], [False], [True])


@pytest.mark.parametrize("n", [0, 1, 3000])
@pytest.mark.parametrize("spread", [False, True], ids=["in order", "spread"])
def test_flags_are_those_of_the_slow_twin(n: int, spread: bool) -> None:
    rng = random.Random(n)
    texts = [rng.choice(["0", "1", "-1", "", " 1", *FLAGS, *NOT_FLAGS]) for _ in range(n)]
    flags = decode_flags(cells_of(texts, spread))
    expected = [reference.flag(text) for text in texts]
    assert flags.empty.tolist() == [value == "empty" for value in expected]
    assert flags.bad.tolist() == [value == "bad" for value in expected]
    assert flags.values.tolist() == [-1 if isinstance(value, str) else value for value in expected]
    assert flags.values.dtype == np.int8


def random_texts(rng: random.Random, n: int) -> list[str]:
    pool = [
        "",
        "a",
        "b",
        "/m/01g317",
        "/m/01g318",
        "é",
        "x" * 8,
        "x" * 9,
        "x" * 16,
        "x" * 600,
        "x" * 599 + "y",
        "日本語" * 5,
    ]
    pool += [f"/m/0{rng.randrange(300):x}" for _ in range(50)]
    return rng.choices(pool, k=n)


@pytest.mark.parametrize("n", [0, 1, 2, 3000])
@pytest.mark.parametrize("spread", [False, True], ids=["in order", "spread"])
def test_texts_are_those_of_the_slow_twin(n: int, spread: bool) -> None:
    texts = random_texts(random.Random(n), n)
    column = decode_texts(cells_of(texts, spread))
    codes, values = reference.codes([text.encode() for text in texts])
    assert (column.codes.tolist(), list(column.values)) == (codes, values)
    assert column.to_list() == texts


def test_an_index_knows_texts_across_blocks() -> None:
    rng = random.Random(4)
    texts = random_texts(rng, 5000)
    index, codes, start = TextIndex(), [], 0
    while start < len(texts):
        stop = start + rng.randrange(400)
        codes.append(index.codes(cells_of(texts[start:stop])))
        start = stop
    expected = reference.codes([text.encode() for text in texts])
    assert (np.concatenate(codes).tolist(), index.values) == expected
    assert index.texts(np.concatenate(codes)).to_list() == texts


def test_an_index_knows_an_empty_text_again() -> None:
    index = TextIndex()
    blocks = [["", ""], ["a", "", "x" * 20], [""]]
    assert [index.codes(cells_of(texts)).tolist() for texts in blocks] == [[0, 0], [1, 0, 2], [0]]
    assert index.values == ["", "a", "x" * 20]


SHORT_TEXTS = st.text(alphabet="ab\0é", max_size=17).filter(lambda text: len(text.encode()) <= 17)


@given(st.lists(st.lists(SHORT_TEXTS, max_size=6), max_size=4), st.booleans())
def test_short_texts_are_those_of_the_slow_twin(blocks: list[list[str]], spread: bool) -> None:
    """Of up to two words; a block with one longer text takes the other way, and knows the same texts."""
    index = TextIndex()
    found = [index.codes(cells_of(texts, spread)).tolist() for texts in blocks]
    codes, values = reference.codes([text.encode() for texts in blocks for text in texts])
    assert [code for part in found for code in part] == codes
    assert index.values == values
    for texts in blocks:
        runs = decode_runs(cells_of(texts, spread))
        expected = reference.runs([text.encode() for text in texts])
        assert list(zip(runs.starts.tolist(), runs.texts.to_bytes_list(), strict=True)) == expected


@pytest.mark.parametrize("more", [[], ["x" * 40]], ids=["short", "one longer"])
def test_texts_of_one_hash_are_still_told_apart(monkeypatch: pytest.MonkeyPatch, more: list[str]) -> None:
    monkeypatch.setattr(
        "app.columns.codecs.hash_cells", lambda buffer, starts, stops: (stops - starts).astype(np.uint64)
    )
    monkeypatch.setattr("app.columns.codecs._hash_short", lambda lengths, words: lengths.astype(np.uint64))
    texts = ["ab", "cd", "ab", "ef", "cd", "a", "ab", *more]
    index = TextIndex()
    for _ in range(2):
        codes = index.codes(cells_of(texts))
        assert [index.values[code] for code in codes] == texts
    assert sorted(index.values) == ["a", "ab", "cd", "ef", *more]


@pytest.mark.parametrize("n", [0, 1, 2, 3000])
@pytest.mark.parametrize("spread", [False, True], ids=["in order", "spread"])
def test_runs_are_those_of_the_slow_twin(n: int, spread: bool) -> None:
    rng = random.Random(n)
    texts = [text for text in random_texts(rng, n) for _ in range(rng.randrange(1, 5))][:n]
    runs = decode_runs(cells_of(texts, spread))
    expected = reference.runs([text.encode() for text in texts])
    assert list(zip(runs.starts.tolist(), runs.texts.to_bytes_list(), strict=True)) == expected
    assert len(runs) == len(expected)
    assert int(runs.lengths.sum()) == runs.n_rows == n
    spread_again = runs.spread(np.arange(len(runs)))
    assert [runs.texts.row_bytes(code).decode() for code in spread_again.tolist()] == texts


NUMBER_TEXTS = {
    0.0: "0",
    1.0: "1",
    -1.0: "-1",
    10.0: "10",
    100.5: "100.5",
    0.1: "0.1",
    0.00001: "0.00001",
    1e-7: "0.0000001",
    -2.5e-9: "-0.0000000025",
    1e15: "1000000000000000",
    1e16: "10000000000000000",
    1e22: "10000000000000000000000",
    123456789012345680.0: "123456789012345680",
    0.16666666666666666: "0.16666666666666666",
    0.30000000000000004: "0.30000000000000004",
}


@pytest.mark.parametrize(("value", "text"), NUMBER_TEXTS.items())
def test_a_number_is_written_short_and_without_exponent(value: float, text: str) -> None:
    assert encode_numbers(np.array([value])).to_texts() == [text]


def test_the_sign_of_zero_is_written() -> None:
    assert encode_numbers(np.array([0.0, -0.0])).to_texts() == ["0", "-0"]


@pytest.mark.parametrize("n", [0, 1, 2, 40_000])
def test_numbers_are_written_as_by_the_slow_twin(n: int) -> None:
    rng = np.random.default_rng(n)
    any_bits = rng.integers(0, 2**64, n, dtype=np.uint64).view(np.float64)
    values = rng.random(n) * 10.0 ** rng.integers(-8, 12, n)
    values = np.where(rng.random(n) < 0.5, np.round(values, 6), values)
    values = np.where(rng.random(n) < 0.1, any_bits, values)
    values = values[np.isfinite(values)]
    texts = encode_numbers(values).to_texts()
    assert texts == [reference.shortest(value) for value in values.tolist()]
    again = decode_numbers(cells_of(texts)).values
    assert again.tobytes() == values.tobytes()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_only_finite_numbers_are_written(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        encode_numbers(np.array([1.0, value]))


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.uint16])
def test_integers_are_written_as_python_does(dtype: type[np.integer]) -> None:
    limits = np.iinfo(dtype)
    values = np.array([0, 1, limits.min, limits.max, 7], dtype=dtype)
    assert encode_integers(values).to_texts() == [str(value) for value in values.tolist()]
    assert len(encode_integers(values[:0])) == 0
