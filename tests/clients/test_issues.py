"""Issues, comments and users by the SDK."""

from __future__ import annotations

from pathlib import Path

from tests.clients.runners import Clients
from tests.samples import write_pictures
from tests.service import ADMIN


def test_issues_and_comments(clients: Clients, pictures: Path) -> None:
    paths = write_pictures(pictures, {"a.png": (64, 48)})
    told = clients.sdk("issues", pictures=[str(path) for path in paths])
    number = told["issue"]["id"]
    assert (told["issue"]["resolved"], told["issue"]["position"]) == (True, [1.0, 2.5, 30.0, 40.0])
    assert told["found"] == [number]
    assert number in told["listed"]
    assert told["messages"] == ["I did", "look here"]
    assert (told["owner"], told["count"]) == (ADMIN, 1)
    assert (told["left"], told["gone"]) == (["look here"], [])
    assert ADMIN in told["users"]
