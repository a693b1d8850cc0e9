"""Deflate: what other inflaters read again, and the same bytes wherever it runs."""

import itertools
import random
import threading
import zlib

import numpy as np
import pytest

from app.deflate import RAW, Deflater, deflate, deflate_piece
from app.images.png import encode_mask

STACKS = 60
"""Each differs in the bits of its address that ISA-L would let in."""


def touchy_data() -> list[bytes]:
    """Texts that repeat their own beginning, so that one place more or less in the hash table shows."""
    draw = random.Random(3)
    texts = []
    for _ in range(300):
        head = draw.randbytes(9)
        texts.append(head + b"".join(draw.randbytes(1) + head[draw.randrange(7) :] for _ in range(40)))
    return texts


def outcomes(compress, data):
    """How many different results each of the data has, in threads whose stacks lie at different addresses."""
    seen = [set() for _ in data]

    def run():
        for results, one in zip(seen, data, strict=True):
            results.add(compress(one))

    try:
        for number in range(STACKS):
            threading.stack_size((256 << 10) + (number << 16))
            pair = [threading.Thread(target=run) for _ in range(2)]
            for thread in pair:
                thread.start()
            for thread in pair:
                thread.join()
    finally:
        threading.stack_size(0)
    return [len(results) for results in seen]


def test_results_do_not_depend_on_where_the_stack_lies():
    assert set(outcomes(deflate, touchy_data())) == {1}


def test_masks_do_not_depend_on_it():
    rng = np.random.default_rng(2)
    masks = [np.repeat(rng.integers(0, 256, (1, 9), dtype=np.uint8), 30, axis=0) for _ in range(200)]
    for mask in masks:
        mask[1::2] = np.roll(mask[1::2], 1, axis=1)
    assert set(outcomes(lambda rows: encode_mask(rows, 72), masks)) == {1}


def test_results_do_not_depend_on_where_the_stream_lies():
    """Where it does, one of a thousand streams has a match more or less: in some twenty of these."""
    draw = random.Random(5)
    texts = []
    for _ in range(600):
        head = draw.randbytes(12)
        texts.append(head + b"".join(draw.randbytes(1) + head[draw.randrange(9) :] for _ in range(40)))
    results = [deflate(text) for text in texts]
    others = []
    for _ in range(30):
        others.append(Deflater())  # it has some 300 KiB, so the next ones lie elsewhere
        assert [deflate(text) for text in texts] == results


@pytest.mark.parametrize("size", [0, 1, 2, 3, 8, 16, 17, 300, 70_000, 300_000])
@pytest.mark.parametrize("window_bits", [15, RAW])
def test_zlib_inflates_it(size, window_bits):
    rng = random.Random(size)
    for data in (rng.randbytes(size), bytes(size), bytes(rng.choices(b"01,\n", k=size))):
        cuts = [0, *sorted(rng.randrange(size + 1) for _ in range(3)), size]
        deflater = Deflater(window_bits)
        packed = b"".join(deflater.compress(data[a:b]) for a, b in itertools.pairwise(cuts))
        inflater = zlib.decompressobj(window_bits)
        assert inflater.decompress(packed + deflater.flush()) == data
        assert inflater.eof
        assert not inflater.unused_data


def test_one_call_gives_what_one_stream_gives():
    data = b"ImageID,Source\n" * 99
    deflater = Deflater()
    assert deflater.compress(data) + deflater.flush() == deflate(data)
    assert (
        zlib.decompress(deflate(memoryview(np.arange(600, dtype=np.uint16)))) == np.arange(600, dtype="<u2").tobytes()
    )


def test_pieces_stand_in_any_order_in_a_stream():
    rng = random.Random(8)
    texts = [rng.randbytes(rng.choice([0, 1, 47, 48, 49, 700])) * rng.choice([1, 1, 200]) for _ in range(40)]
    pieces = [deflate_piece(text) for text in texts]
    for _ in range(3):
        order = rng.sample(range(40), 40)
        inflater = zlib.decompressobj(RAW)
        whole = b"".join(pieces[n].packed for n in order) + Deflater(RAW).flush()
        assert inflater.decompress(whole) == b"".join(texts[n] for n in order)
        assert inflater.eof
    for text, piece in zip(texts, pieces, strict=True):
        assert (piece.crc, piece.size) == (zlib.crc32(text), len(text))
