"""What a process gives back after a large piece of work."""

from __future__ import annotations

import gc
import weakref

import pytest

from app import heap


class Ring:
    """Refers to itself."""

    def __init__(self) -> None:
        self.own = self


@pytest.mark.parametrize(
    ("small_bytes", "grown_bytes", "goes"), [(0, 64 << 20, True), (1 << 50, 64 << 20, False), (0, 0, False)]
)
def test_what_only_refers_to_itself_goes_where_the_process_became_large(
    small_bytes: int, grown_bytes: int, goes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heap, "SMALL_BYTES", small_bytes)
    gc.disable()
    try:
        ring = Ring()
        cache, seen = [ring], weakref.ref(ring)
        del ring
        heap.give_back(heap.resident_bytes() - grown_bytes, cache.clear)
        assert (seen() is None) == goes == (not cache)
    finally:
        gc.enable()


def test_what_a_process_has_begun_with_is_not_looked_at_again() -> None:
    ring = Ring()
    try:
        heap.keep_heap()
        assert gc.get_freeze_count() > 10_000
        assert all(found is not ring for found in gc.get_objects())
    finally:
        gc.unfreeze()
    assert any(found is ring for found in gc.get_objects())
