"""Passwords that cost next to nothing, in the tests' own processes; the services that tests start hash as they do.

The fixture `costly_passwords` (`tests/conftest.py`) is for those tests that are of the cost.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from argon2 import PasswordHasher

from app.storage import users

OF_THE_PRODUCT = users._hasher
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def cheapen() -> None:
    _hash_with(CHEAP)


@contextmanager
def of_the_product() -> Iterator[None]:
    before = users._hasher
    _hash_with(OF_THE_PRODUCT)
    try:
        yield
    finally:
        _hash_with(before)


def _hash_with(hasher: PasswordHasher) -> None:
    users._hasher = hasher
    users._nobody.cache_clear()  # what it holds was made by the other one
