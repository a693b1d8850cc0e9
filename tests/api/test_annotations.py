"""LabeledData over HTTP: read, replace, add, change, remove; tasks and the windows of jobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.annotations import Annotations, Shapes
from app.api import Services, build_app
from app.api import annotations as endpoints
from app.columns import Ragged
from app.storage import Storage, Task
from app.storage import annotations as stored
from tests.api.conftest import BASE_URL, TestClient
from tests.api.working import new_task

LABELS = [
    {
        "name": "car",
        "attributes": [{"name": "side", "mutable": False, "input_type": "select", "values": ["left", "right"]}],
    },
    {"name": "tree", "attributes": []},
]


class Scene:
    """A task of 9 frames in jobs of 3, and its label ids."""

    def __init__(self, client: TestClient, give_data: Callable[..., Task]) -> None:
        self.client = client
        self.task_id = new_task(client, labels=LABELS)
        give_data(self.task_id, 9, 3)
        self.url = f"/api/tasks/{self.task_id}/annotations"
        found = client.get(f"/api/labels?task_id={self.task_id}").json()["results"]
        self.labels = {label["name"]: label["id"] for label in found}
        self.side = found[0]["attributes"][0]["id"]
        jobs = client.get(f"/api/jobs?task_id={self.task_id}&sort=id").json()["results"]
        self.jobs = [job["id"] for job in jobs]

    def box(self, frame: int = 0, **more: Any) -> dict[str, Any]:
        return {"type": "rectangle", "frame": frame, "label_id": self.labels["tree"], "points": [1, 2, 3, 4], **more}

    def tag(self, frame: int = 0, **more: Any) -> dict[str, Any]:
        return {"frame": frame, "label_id": self.labels["car"], **more}

    def track(self, *frames: int) -> dict[str, Any]:
        shapes = [{"type": "rectangle", "frame": frame, "points": [0, 0, 5, 5]} for frame in frames]
        return {"frame": frames[0], "label_id": self.labels["tree"], "shapes": shapes}

    def put(self, **sections: Any) -> Any:
        answer = self.client.put(self.url, json=sections)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def get(self, url: str = "") -> Any:
        answer = self.client.get(url or self.url)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def scene(client: TestClient, give_data: Callable[..., Task]) -> Scene:
    return Scene(client, give_data)


def test_nothing_is_three_empty_lists(scene: Scene) -> None:
    assert scene.get() == {"version": 0, "tags": [], "shapes": [], "tracks": []}


def test_what_is_put_is_got_with_ids_and_defaults(scene: Scene) -> None:
    told = scene.put(shapes=[scene.box(), scene.box(3, occluded=True)], tags=[scene.tag(2)], tracks=[scene.track(1, 4)])
    assert scene.get() == told
    ids = [entry["id"] for kind in ("shapes", "tags", "tracks") for entry in told[kind]]
    assert all(isinstance(one, int) and one > 0 for one in ids)
    assert told["tags"][0]["attributes"] == [{"spec_id": scene.side, "value": "left"}]
    assert told["shapes"][0] == {
        "id": told["shapes"][0]["id"],
        "frame": 0,
        "label_id": scene.labels["tree"],
        "group": 0,
        "source": "manual",
        "type": "rectangle",
        "occluded": False,
        "outside": False,
        "z_order": 0,
        "rotation": 0.0,
        "points": [1.0, 2.0, 3.0, 4.0],
        "attributes": [],
        "elements": [],
        "score": 1.0,
    }
    assert [shape["frame"] for shape in told["tracks"][0]["shapes"]] == [1, 4]


def test_put_replaces_and_keeps_the_ids_it_is_given(scene: Scene) -> None:
    first, second = scene.put(shapes=[scene.box(), scene.box(1)])["shapes"]
    told = scene.put(shapes=[{**second, "points": [0, 0, 9, 9]}, scene.box(5)])["shapes"]
    assert [shape["frame"] for shape in told] == [1, 5]
    assert told[0]["id"] == second["id"]
    assert told[1]["id"] not in (first["id"], second["id"])
    assert scene.get()["shapes"] == told


@pytest.mark.parametrize("field", ["shapes", "tags", "tracks", "intervals"])
def test_null_is_no_list_and_empties_nothing(scene: Scene, field: str) -> None:
    """As in CVAT, whose lists may be missing but not null."""
    told = scene.put(shapes=[scene.box()], tags=[scene.tag(2)], tracks=[scene.track(1, 4)])
    body = {field: None}
    answers = [scene.client.put(scene.url, json=body)]
    answers += [
        scene.client.patch(f"{scene.url}?action={action}", json=body) for action in ("create", "update", "delete")
    ]
    for answer in answers:
        assert answer.status_code == 400, answer.text
        assert field in answer.text
    assert scene.get() == told


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        *(("shapes", field) for field in ("frame", "label_id", "type", "points", "source", "occluded", "outside")),
        *(("shapes", field) for field in ("z_order", "rotation", "attributes", "elements", "score")),
        *(("tags", field) for field in ("frame", "label_id", "source", "attributes")),
        *(("tracks", field) for field in ("frame", "label_id", "source", "attributes", "shapes", "elements")),
    ],
)
def test_null_is_no_value_of_a_field(scene: Scene, kind: str, field: str) -> None:
    entry = {"shapes": scene.box(), "tags": scene.tag(), "tracks": scene.track(1, 4)}[kind]
    answer = scene.client.put(scene.url, json={kind: [{**entry, field: None}]})
    assert answer.status_code == 400, answer.text
    assert f"{kind}[0].{field}" in answer.text


def test_patch_adds_changes_and_removes(scene: Scene) -> None:
    old = scene.put(shapes=[scene.box()])["shapes"][0]
    added = scene.client.patch(
        f"{scene.url}?action=create", json={"shapes": [scene.box(1, id=old["id"])], "tags": [scene.tag()]}
    )
    assert added.status_code == 200
    new = added.json()
    assert (len(new["shapes"]), len(new["tags"]), new["tracks"]) == (1, 1, [])
    assert new["shapes"][0]["id"] != old["id"]
    moved = {**new["shapes"][0], "points": [5, 5, 6, 6], "frame": 8}
    changed = scene.client.patch(f"{scene.url}/?action=update", json={"shapes": [moved]}).json()
    assert changed["shapes"] == [{**moved, "points": [5.0, 5.0, 6.0, 6.0]}]
    assert [shape["id"] for shape in scene.get()["shapes"]] == [old["id"], moved["id"]]
    gone = scene.client.patch(
        f"{scene.url}?action=delete", json={"shapes": [old, {"id": 987654}], "tags": [], "tracks": []}
    )
    assert gone.status_code == 200
    assert set(gone.json()) >= {"tags", "shapes", "tracks"}
    assert [shape["id"] for shape in scene.get()["shapes"]] == [moved["id"]]
    assert len(scene.get()["tags"]) == 1


def test_delete_empties(scene: Scene) -> None:
    scene.put(shapes=[scene.box()], tags=[scene.tag()], tracks=[scene.track(0, 1)])
    answer = scene.client.delete(scene.url)
    assert (answer.status_code, answer.content) == (204, b"")
    assert scene.get() == {"version": 0, "tags": [], "shapes": [], "tracks": []}


@pytest.mark.parametrize("query", ["", "?action=", "?action=replace", "?action=Create"])
def test_an_action_is_needed(scene: Scene, query: str) -> None:
    answer = scene.client.patch(f"{scene.url}{query}", json={"shapes": [scene.box()]})
    assert (answer.status_code, "action" in answer.json()) == (400, True)


def test_all_or_nothing(scene: Scene) -> None:
    before = scene.put(shapes=[scene.box()])
    bad = [scene.box(), scene.box(frame=9)]
    for call in (
        scene.client.put(scene.url, json={"shapes": bad}),
        scene.client.patch(f"{scene.url}?action=create", json={"shapes": bad}),
        scene.client.patch(f"{scene.url}?action=update", json={"shapes": [before["shapes"][0], scene.box(id=98765)]}),
        scene.client.put(scene.url, content=b'{"shapes":[{}', headers={"Content-Type": "application/json"}),
    ):
        assert call.status_code == 400, call.text
    assert scene.get() == before
    told = scene.client.put(scene.url, json={"shapes": bad}).json()
    assert told["detail"].startswith("shapes[1].frame: ")
    assert told["problems"][0]["column"] == "shapes[1].frame"
    assert told["code"] == "annotations.frame"
    assert told["counts"] == {"annotations.frame": 1}


def test_each_problem_is_told_once(scene: Scene) -> None:
    body = {"shapes": [scene.box(elements=[{}]), scene.box(elements=5)], "tracks": [{**scene.track(0), "elements": 5}]}
    answer = scene.client.put(scene.url, json=body)
    assert answer.status_code == 400
    places = [(problem["column"], problem["message"]) for problem in answer.json()["problems"]]
    assert len(set(places)) == len(places)
    assert {"shapes[1].elements", "tracks[0].elements"} <= {place for place, _ in places}


@pytest.mark.parametrize(("name", "meant"), [("shape", "shapes"), ("Shapes", "shapes"), ("tag", "tags")])
def test_a_list_whose_name_is_nearly_right_removes_nothing(scene: Scene, name: str, meant: str) -> None:
    before = scene.put(shapes=[scene.box()], tags=[scene.tag()])
    answer = scene.client.put(scene.url, json={name: []})
    assert (answer.status_code, answer.json()["code"]) == (400, "json.field")
    assert answer.json()["detail"] == f"{name}: there is no such field; did you mean {meant}?"
    assert scene.get() == before
    scene.put(shapes=[], job_id=7, stages=[], images=[{}])  # other fields are passed over, as CVAT does


def test_an_unknown_id_is_named(scene: Scene) -> None:
    answer = scene.client.patch(f"{scene.url}?action=update", json={"shapes": [scene.box(id=98765)]})
    assert (answer.status_code, answer.json()["code"]) == (400, "annotations.unknown")
    assert "98765" in answer.json()["detail"]


def test_a_job_is_a_window(scene: Scene) -> None:
    kept = scene.put(shapes=[scene.box(frame) for frame in range(9)], tracks=[scene.track(1, 7)])
    url = f"/api/jobs/{scene.jobs[1]}/annotations"
    assert [shape["frame"] for shape in scene.get(url)["shapes"]] == [3, 4, 5]
    assert scene.client.put(url, json={"shapes": [scene.box(2)]}).status_code == 400
    told = scene.client.put(url, json={"shapes": [scene.box(4)], "tracks": [scene.track(5, 8)]}).json()
    assert scene.get(url) == told
    whole = scene.get()
    assert [shape["frame"] for shape in whole["shapes"]] == [0, 1, 2, 4, 6, 7, 8]
    assert [track["frame"] for track in whole["tracks"]] == [1, 5]
    foreign = kept["shapes"][0]
    assert scene.client.patch(f"{url}?action=update", json={"shapes": [{**foreign, "frame": 4}]}).status_code == 400
    scene.client.patch(f"{url}?action=delete", json={"shapes": [foreign]})
    assert foreign in scene.get()["shapes"]
    assert scene.client.delete(f"{url}/").status_code == 204
    assert [shape["frame"] for shape in scene.get()["shapes"]] == [0, 1, 2, 6, 7, 8]


def test_changes_are_seen_by_those_who_cache(scene: Scene) -> None:
    task = f"/api/tasks/{scene.task_id}"
    before = scene.get(task)["updated_date"]
    etag = scene.client.get(scene.url).headers["etag"]
    assert scene.client.get(scene.url, headers={"If-None-Match": etag}).status_code == 304
    scene.put(shapes=[scene.box()])
    assert scene.get(task)["updated_date"] > before
    again = scene.client.get(scene.url, headers={"If-None-Match": etag})
    assert (again.status_code, len(again.json()["shapes"])) == (200, 1)


@pytest.mark.parametrize("name", ["format", "filename", "action", "location", "cloud_storage_id"])
def test_the_old_exports_are_gone(scene: Scene, name: str) -> None:
    for url in (scene.url, f"/api/jobs/{scene.jobs[0]}/annotations"):
        answer = scene.client.get(f"{url}?{name}=x")
        assert (answer.status_code, "dataset/export" in answer.json()["detail"]) == (410, True)


def test_the_old_imports_and_datasets_are_gone(scene: Scene) -> None:
    assert scene.client.put(f"{scene.url}?rq_id=5").status_code == 410
    assert scene.client.put(f"{scene.url}?format=x", json={}).status_code == 410
    for path in (f"/api/tasks/{scene.task_id}/dataset", f"/api/jobs/{scene.jobs[0]}/dataset?format=x"):
        assert scene.client.get(path).status_code == 410


def test_a_task_without_data_has_no_annotations(client: TestClient) -> None:
    url = f"/api/tasks/{new_task(client)}/annotations"
    assert client.get(url).status_code == 400
    assert client.put(url, json={}).status_code == 400
    assert client.delete(url).status_code == 400


def test_only_json_is_read(scene: Scene) -> None:
    for headers, status in (
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/zip"}, 415),
        ({"Content-Type": "application/vnd.cvat+json"}, 200),
    ):
        answer = scene.client.put(scene.url, content=b'{"shapes":[]}', headers=headers)
        assert answer.status_code == status
    assert scene.client.put(scene.url, headers={"Content-Type": "application/json"}).status_code == 400


@pytest.mark.parametrize("small_bytes", [0, endpoints.SMALL_BYTES], ids=["long", "short"])
def test_bodies_of_any_length_take_their_way(scene: Scene, monkeypatch: pytest.MonkeyPatch, small_bytes: int) -> None:
    monkeypatch.setattr(endpoints, "SMALL_BYTES", small_bytes)
    first, second = scene.put(shapes=[scene.box(), scene.box(1)])["shapes"]
    moved = {**second, "points": [4, 4, 5, 5]}
    sent = scene.client.patch(f"{scene.url}?action=update", json={"shapes": [moved]})
    assert sent.json()["shapes"] == [{**moved, "points": [4.0, 4.0, 5.0, 5.0]}]
    # The frame that a client names is only where the search begins.
    for gone in ({**first, "frame": 8}, {"id": second["id"], "frame": "x"}, {"id": 5, "frame": -3}):
        assert scene.client.patch(f"{scene.url}?action=delete", json={"shapes": [gone]}).status_code == 200
    assert scene.get()["shapes"] == []
    added = scene.client.patch(f"{scene.url}?action=create", json={"tags": [scene.tag()]})
    assert scene.get()["tags"] == added.json()["tags"]
    mask = {**scene.box(), "type": "mask", "points": [0, 2, 63, 0, 64, 0]}  # a picture is 64 pixels wide
    answer = scene.client.put(scene.url, json={"shapes": [mask]})
    assert (answer.status_code, answer.json()["code"]) == (400, "annotations.mask")
    # What is not there is told before what is wrong with the body.
    for method, path in (("PUT", ""), ("PATCH", "?action=create"), ("PATCH", "?action=delete")):
        for number, status in ((scene.task_id, 415), (scene.task_id + 1, 404)):
            url = f"/api/tasks/{number}/annotations{path}"
            asked = scene.client.request(method, url, content=b"{", headers={"Content-Type": "text/plain"})
            assert asked.status_code == status


def test_a_large_body_is_413(services: Services, scene: Scene) -> None:
    small = replace(services.settings, max_json_body_bytes=1000, max_shapes_per_request=3)
    client = TestClient(build_app(replace(services, settings=small)), base_url=BASE_URL)
    assert client.put(scene.url, json={"shapes": [scene.box()] * 50}).status_code == 413
    answer = client.put(scene.url, json={"shapes": [scene.box()] * 4})
    assert (answer.status_code, answer.json()["code"]) == (400, "annotations.too_many")


def test_a_large_task_is_read_block_by_block(scene: Scene, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 30_000
    shapes = Shapes.empty(rows).replace(
        frames=(np.arange(rows) % 9).astype(np.int32),
        label_ids=np.full(rows, scene.labels["tree"], dtype=np.int32),
        points=Ragged(np.arange(4 * rows, dtype=np.float64), np.arange(rows + 1, dtype=np.int64) * 4),
    )
    with storage.database.write() as conn:
        stored.append(conn, scene.task_id, Annotations(shapes=shapes))
    scene.client.patch(f"{scene.url}?action=create", json={"tags": [scene.tag()], "tracks": [scene.track(0, 3)]})
    whole = scene.get()
    monkeypatch.setattr(endpoints, "LOADED_ROWS", 10)
    in_blocks = scene.get()
    assert len(whole["shapes"]) == rows
    assert in_blocks == whole
    for _ in range(20):  # each read gives its connection back
        assert scene.get(f"/api/jobs/{scene.jobs[2]}/annotations")["shapes"][0]["frame"] == 6


@pytest.mark.parametrize("action", ["put", "patch"])
@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"id": "tree", "deleted": True}, 409),
        ({"id": "tree", "attributes": [{"name": "new", "input_type": "text", "values": []}]}, 409),
        ({"id": "car", "deleted": True}, 200),
        ({"name": "new"}, 200),
        ({"id": "tree", "name": "oak", "color": "#123456"}, 200),
    ],
)
def test_labels_that_change_meanwhile_stop_only_those_who_use_them(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, action: str, change: dict[str, Any], status: int
) -> None:
    decode = endpoints.decode
    change = {**change, "id": scene.labels[change["id"]]} if "id" in change else change

    def decode_slowly(*given: Any, **more: Any) -> Annotations:
        changed = scene.client.patch(f"/api/tasks/{scene.task_id}", json={"labels": [change]})
        assert changed.status_code == 200, changed.text
        return decode(*given, **more)

    monkeypatch.setattr(endpoints, "decode", decode_slowly)
    query = "" if action == "put" else "?action=create"
    answer = scene.client.request(action.upper(), scene.url + query, json={"shapes": [scene.box()]})
    assert answer.status_code == status, answer.text
    assert ("tree" in answer.json().get("detail", "")) == (status == 409)
    assert len(scene.get()["shapes"]) == (status == 200)
