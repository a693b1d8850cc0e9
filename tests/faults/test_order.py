"""Imports, exports and edits of one task at once: they never mix."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.api.working import picture
from tests.kills.actors import FORMAT, boxes, packed, shown, unpacked
from tests.kills.shapes import Embedded

N_ROUNDS = 6
GROUP = 300


def numbers(kind: int, turn: int) -> tuple[int, ...]:
    """A state that tells who wrote it: `GROUP` numbers with the same rest."""
    return tuple(range(1 + kind + 4 * (turn % 2), 1 + kind + 4 * (turn % 2) + 3 * GROUP, 3))


def final(client: httpx.Client, answer: httpx.Response) -> dict[str, str]:
    while True:
        request: dict[str, str] = client.get(f"/api/requests/{answer.json()['rq_id']}").json()
        if request["status"] in ("finished", "failed"):
            return request


def test_work_on_one_task_at_once_never_mixes(tmp_path: Path) -> None:
    shape = Embedded(tmp_path, workers=2)
    wrong: list[str] = []
    with httpx.Client(base_url=shape.url(), timeout=180) as client:
        task = client.post("/api/tasks", json={"name": "t", "labels": [{"name": "cat"}]}).json()["id"]
        files = {"client_files[0]": ("a.png", picture(1000, 1000))}
        assert final(client, client.post(f"/api/tasks/{task}/data", files=files))["status"] == "finished"
        label = client.get(f"/api/labels?task_id={task}").json()["results"][0]["id"]
        path = f"/api/tasks/{task}/annotations"
        allowed = {numbers(kind, turn) for kind in (0, 1) for turn in (0, 1)} | {()}

        def put(turn: int) -> None:
            answer = client.put(path, json={"shapes": boxes(numbers(0, turn), label)})
            assert answer.status_code == 200, answer.text

        def bring(turn: int) -> None:
            files = {"annotation_file": ("a.zip", packed(numbers(1, turn)))}
            answer = client.post(path, params={"format": FORMAT}, files=files)
            assert answer.status_code in (202, 409), answer.text
            if answer.status_code == 202:
                assert final(client, answer)["status"] == "finished"

        def export(turn: int) -> None:
            done = final(client, client.post(f"/api/tasks/{task}/dataset/export", params={"format": FORMAT}))
            found = unpacked(client.get("/api/" + done["result_url"].partition("/api/")[2]).content)
            assert found in allowed, found

        def stream(turn: int) -> None:
            found = unpacked(client.get(f"/api/tasks/{task}/export").content)
            assert found in allowed, found

        def read(turn: int) -> None:
            found = shown(client.get(path).json())
            assert found in allowed, found

        def repeat(do: Callable[[int], None]) -> None:
            try:
                for turn in range(N_ROUNDS):
                    do(turn)
            except AssertionError as error:
                wrong.append(f"{do.__name__}: {str(error)[:300]}")

        threads = [threading.Thread(target=repeat, args=(do,)) for do in (put, bring, bring, export, stream, read)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert shown(client.get(path).json()) in allowed
    shape.stop()
