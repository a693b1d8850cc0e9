"""Every bad archive is refused by its code and place, changes nothing and costs little; every sound one is taken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.arena import Arena, open_arena
from tests.hostile.corpus import BAD, BAD_PICTURES, ODD_PICTURES, REQUESTS, SOUND, VIEWS
from tests.hostile.requests import LOCAL, exchange, write
from tests.service import running_service


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    with open_arena(tmp_path_factory.mktemp("arena")) as opened:
        yield opened


@pytest.fixture(scope="module")
def empty_task(arena: Arena) -> int:
    return arena.new_task()


@pytest.mark.parametrize("name", BAD)
def test_bad_archive_is_refused_and_changes_nothing(arena: Arena, name: str) -> None:
    shot = arena.shoot(BAD[name].make())
    assert shot.misses(BAD[name]) == ""
    assert shot.costs_too_much() == ""
    assert arena.change() == ""


@pytest.mark.parametrize("name", REQUESTS)
def test_bad_request_is_refused_and_changes_nothing(arena: Arena, name: str) -> None:
    assert REQUESTS[name].misses(REQUESTS[name].send(arena)) == ""
    assert arena.change() == ""


@pytest.mark.parametrize("name", SOUND)
def test_sound_archive_is_taken(arena: Arena, name: str) -> None:
    shot = arena.shoot(SOUND[name]())
    assert shot.status == 200, shot.answer
    assert shot.costs_too_much() == ""


@pytest.mark.parametrize("name", BAD_PICTURES)
def test_bad_picture_is_refused_by_name_and_attaches_nothing(arena: Arena, empty_task: int, name: str) -> None:
    bad = BAD_PICTURES[name]
    shot = arena.attach(empty_task, bad.file, bad.make())
    assert shot.fails_to_name(bad) == ""
    assert shot.costs_too_much() == ""
    assert arena.caller.json("GET", f"/api/tasks/{empty_task}").get("size", 0) == 0


@pytest.mark.parametrize("name", ODD_PICTURES)
def test_odd_picture_is_shown_or_refused(arena: Arena, name: str) -> None:
    file, make = ODD_PICTURES[name]
    task = arena.new_task()
    shot = arena.attach(task, file, make())
    assert shot.answer["status"] == "finished", shot.answer
    for path in VIEWS:
        looked = arena.look_at(task, path)
        assert looked.is_no_answer() == "", path
        assert looked.costs_too_much() == "", path
    arena.caller.call("DELETE", f"/api/tasks/{task}")


def test_the_corpus_is_large_enough() -> None:
    assert len(BAD) >= 120
    assert len(REQUESTS) >= 60
    assert len(SOUND) >= 25
    assert len(BAD_PICTURES) + len(ODD_PICTURES) >= 80


def test_a_service_without_passwords_is_closed_to_other_sites(tmp_path: Path) -> None:
    with running_service(tmp_path, auth_mode="local", arguments=("--no-worker",)) as service:
        for name, request in LOCAL.items():
            assert request.misses(exchange(service.url, request.write(1))) == "", name
        mine = exchange(service.url, write("GET", "/api/tasks", [("Origin", "http://127.0.0.1")], auth=False))
        assert mine.status == 200
