"""Labels: attributes of every type, skeletons, changes of a set, single labels."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import TestClient, created

SIDE = {"name": "side", "mutable": False, "input_type": "select", "default_value": "left", "values": ["left", "right"]}


def labels_of(client: TestClient, query: str) -> list[dict[str, Any]]:
    answer = client.get(f"/api/labels?{query}&page_size=all")
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


def attribute(client: TestClient, **given: Any) -> dict[str, Any]:
    """The attribute that a new task's label has, for one written as `given`."""
    task = created(client, "/api/tasks", name="t", labels=[{"name": "car", "attributes": [{"name": "a", **given}]}])
    made: dict[str, Any] = labels_of(client, f"task_id={task['id']}")[0]["attributes"][0]
    return made


def refused(client: TestClient, *labels: dict[str, Any]) -> str:
    """The sentence with which labels of a new task are refused."""
    answer = client.post("/api/tasks", json={"name": "t", "labels": list(labels)})
    assert answer.status_code == 400, answer.text
    assert client.get("/api/tasks").json()["count"] == 0
    return str(answer.json()["detail"])


# ---- reading


def test_a_label_is_told_in_cvats_form(client: TestClient) -> None:
    task = created(
        client,
        "/api/tasks",
        name="t",
        labels=[{"name": "car", "color": "#ff0000", "type": "any", "attributes": [SIDE]}],
    )
    (label,) = labels_of(client, f"task_id={task['id']}")
    spec_id = label["attributes"][0].pop("id")
    assert isinstance(spec_id, int)
    assert label == {
        "id": label["id"],
        "name": "car",
        "color": "#ff0000",
        "type": "any",
        "attributes": [SIDE],
        "sublabels": [],
        "svg": "",
        "has_parent": False,
        "parent_id": None,
        "task_id": task["id"],
    }


def test_labels_come_in_order_of_definition_with_colors(client: TestClient) -> None:
    names = [f"label {number}" for number in range(12)]
    task = created(client, "/api/tasks", name="t", labels=[{"name": name} for name in names])
    listed = labels_of(client, f"task_id={task['id']}")
    assert [label["name"] for label in listed] == names
    assert len({label["color"] for label in listed}) == len(names)
    again = created(client, "/api/tasks", name="t", labels=[{"name": name} for name in names])
    assert [label["color"] for label in labels_of(client, f"task_id={again['id']}")] == [
        label["color"] for label in listed
    ]


def test_a_task_of_a_project_has_the_projects_labels(client: TestClient) -> None:
    project = created(client, "/api/projects", name="p", labels=[{"name": "a"}])
    task = created(client, "/api/tasks", name="t", project_id=project["id"])
    (of_task,) = labels_of(client, f"task_id={task['id']}")
    (of_project,) = labels_of(client, f"project_id={project['id']}")
    assert of_task == of_project
    assert of_task["project_id"] == project["id"]
    assert "task_id" not in of_task


def test_one_owner_at_most(client: TestClient) -> None:
    created(client, "/api/tasks", name="t")
    created(client, "/api/projects", name="p")
    assert client.get("/api/labels?task_id=1&project_id=1").status_code == 400
    assert client.get("/api/labels?task_id=99").status_code == 404
    assert client.get("/api/labels?project_id=99").status_code == 404
    assert client.get("/api/labels?job_id=99").status_code == 404
    assert client.get("/api/labels?task_id=x").status_code == 400
    assert client.get("/api/labels?task_id=").status_code == 200


# ---- attributes


@pytest.mark.parametrize(
    ("given", "values", "default"),
    [
        ({"input_type": "checkbox", "values": ["true"]}, ["true"], "true"),
        ({"input_type": "checkbox", "values": []}, [], "false"),
        ({"input_type": "checkbox", "values": ["False"], "default_value": "True"}, ["false"], "true"),
        ({"input_type": "select", "values": ["x", "y"]}, ["x", "y"], "x"),
        ({"input_type": "radio", "values": ["x", "y"], "default_value": "y"}, ["x", "y"], "y"),
        ({"input_type": "radio", "values": ["x" * 129, "y"], "default_value": "y"}, ["x" * 129, "y"], "y"),
        ({"input_type": "number", "values": ["0", "100", "1"]}, ["0", "100", "1"], "0"),
        ({"input_type": "number", "values": [0, 100, 5], "default_value": 50}, ["0", "100", "5"], "50"),
        ({"input_type": "text", "values": []}, [], ""),
        ({"input_type": "text", "values": [""]}, [""], ""),
        ({"input_type": "text", "values": ["hello"]}, ["hello"], "hello"),
    ],
)
def test_attributes_of_every_type(client: TestClient, given: dict[str, Any], values: list[str], default: str) -> None:
    made = attribute(client, mutable=True, **given)
    assert (made["values"], made["default_value"]) == (values, default)
    assert (made["input_type"], made["mutable"]) == (given["input_type"], True)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"input_type": "checkbox", "values": ["maybe"]}, '"maybe"'),
        ({"input_type": "select", "values": []}, "at least one value"),
        ({"input_type": "radio", "values": ["x", "x"]}, "twice"),
        ({"input_type": "select", "values": ["left", "right"], "default_value": "lfet"}, 'Did you mean "left"?'),
        ({"input_type": "number", "values": ["0", "1"]}, "[minimum, maximum, step]"),
        ({"input_type": "number", "values": ["0", "x", "1"]}, "[minimum, maximum, step]"),
        ({"input_type": "number", "values": ["5", "1", "1"]}, "minimum is above"),
        ({"input_type": "number", "values": ["0", "10", "1"], "default_value": "11"}, "not in its range"),
        ({"input_type": "selct", "values": ["x"]}, 'Did you mean "select"?'),
        ({"input_type": "text", "values": "a\nb"}, "list"),
        ({"input_type": "text", "name": "x" * 65}, "name"),
        ({"input_type": "text", "name": ""}, "name"),
        ({"input_type": "text", "values": ["x" * 5000]}, "values"),
        ({"input_type": "text", "default_value": "x" * 129}, "at most 128"),
        ({"input_type": "select", "values": ["x" * 129, "y"]}, "the first of its values"),
    ],
)
def test_bad_attributes_are_refused_by_name(client: TestClient, given: dict[str, Any], words: str) -> None:
    assert words in refused(client, {"name": "car", "attributes": [{"name": "a", **given}]})


# ---- sets


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([{"name": "a"}, {"name": "a"}], "a"),
        ([{"name": "a", "attributes": [{"name": "x"}, {"name": "x"}]}], '"x" is there twice'),
        ([{"name": "a", "type": "rectagle"}], 'Did you mean "rectangle"?'),
        ([{"name": "a", "color": "red"}], "#ff0000"),
        ([{"name": "x" * 65}], "labels[0].name"),
        ([{"name": "ok"}, {"color": "#ff0000"}], "labels[1]"),
        ([{"name": "a", "type": "skeleton"}], "sublabels"),
        ([{"name": "a", "type": "mask", "sublabels": [{"name": "s"}]}], "skeleton only"),
        ([{"name": "a", "sublabels": [{"name": "s"}, {"name": "s"}]}], '"s" is there twice'),
        ([{"name": "a", "sublabels": [{"name": "s", "type": "skeleton"}]}], "itself"),
        (["a"], "labels[0]"),
    ],
)
def test_bad_sets_are_refused(client: TestClient, labels: list[Any], words: str) -> None:
    assert words in refused(client, *labels)


def test_labels_of_another_task_can_be_pasted(client: TestClient) -> None:
    first = created(client, "/api/tasks", name="t", labels=[{"name": "car", "attributes": [SIDE]}])
    copied = labels_of(client, f"task_id={first['id']}")
    second = created(client, "/api/tasks", name="t2", labels=copied)
    (label,) = labels_of(client, f"task_id={second['id']}")
    assert label["id"] != copied[0]["id"]
    assert label["attributes"][0]["id"] != copied[0]["attributes"][0]["id"]
    assert label["task_id"] == second["id"]


def test_skeletons(client: TestClient) -> None:
    skeleton = {
        "name": "person",
        "type": "skeleton",
        "svg": "<svg/>",
        "sublabels": [{"name": "head"}, {"name": "foot"}],
    }
    task = created(client, "/api/tasks", name="t", labels=[skeleton])
    (label,) = labels_of(client, f"task_id={task['id']}")
    assert (label["type"], label["svg"]) == ("skeleton", "<svg/>")
    assert [(part["name"], part["type"], part["has_parent"]) for part in label["sublabels"]] == [
        ("head", "points", True),
        ("foot", "points", True),
    ]
    part_id = label["sublabels"][0]["id"]
    part = client.get(f"/api/labels/{part_id}").json()
    assert (part["has_parent"], part["parent_id"]) == (True, label["id"])
    assert client.patch(f"/api/labels/{part_id}", json={"name": "x"}).status_code == 400
    assert client.delete(f"/api/labels/{part_id}").status_code == 400


@pytest.mark.parametrize("kind", ["tasks", "projects"])
def test_a_patch_changes_the_set(client: TestClient, kind: str) -> None:
    owner = created(client, f"/api/{kind}", name="o", labels=[{"name": name} for name in ("a", "b", "c")])
    query = f"{kind[:-1]}_id={owner['id']}"
    a, b, c = labels_of(client, query)
    change = [
        {"id": a["id"], "name": "A", "color": "#010203"},
        {"id": b["id"], "deleted": True},
        {"name": "d", "attributes": [SIDE]},
    ]
    answer = client.patch(f"/api/{kind}/{owner['id']}", json={"labels": change})
    assert answer.status_code == 200, answer.text
    assert answer.json()["updated_date"] > owner["updated_date"]
    after = labels_of(client, query)
    assert [label["name"] for label in after] == ["A", "c", "d"]
    assert (after[0]["id"], after[0]["color"]) == (a["id"], "#010203")
    assert after[1] == c


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ([{"id": 99, "name": "x"}], 404),
        ([{"id": 99, "deleted": True}], 404),
        ([{"name": "a"}], 400),
        ([{"deleted": True}], 400),
        ([{"id": "1", "name": ""}], 400),
        ([{"id": True, "name": "x"}], 400),
    ],
)
def test_a_bad_patch_changes_nothing(client: TestClient, change: list[Any], status: int) -> None:
    task = created(client, "/api/tasks", name="t", labels=[{"name": "a"}, {"name": "b"}])
    before = labels_of(client, f"task_id={task['id']}")
    answer = client.patch(f"/api/tasks/{task['id']}", json={"name": "new", "labels": [{"name": "z"}, *change]})
    assert answer.status_code == status, answer.text
    assert labels_of(client, f"task_id={task['id']}") == before
    assert client.get(f"/api/tasks/{task['id']}").json()["name"] == "t"


def test_labels_of_a_task_in_a_project_are_ignored_in_a_patch(client: TestClient) -> None:
    project = created(client, "/api/projects", name="p", labels=[{"name": "a"}])
    task = created(client, "/api/tasks", name="t", project_id=project["id"])
    assert client.patch(f"/api/tasks/{task['id']}", json={"labels": [{"name": "new"}]}).status_code == 200
    assert [label["name"] for label in labels_of(client, f"task_id={task['id']}")] == ["a"]


# ---- one label


def test_attributes_are_matched_by_id_else_by_name_and_new_ones_added(client: TestClient) -> None:
    created(client, "/api/tasks", name="t", labels=[{"name": "car", "attributes": [SIDE, {"name": "note"}]}])
    label = client.get("/api/labels/1").json()
    side, note = label["attributes"]
    change = [
        {**side, "name": "flank"},
        {"name": "note", "input_type": "text", "default_value": "none", "values": []},
        {"name": "extra", "input_type": "checkbox", "values": ["true"]},
    ]
    answer = client.patch("/api/labels/1", json={"attributes": change, "color": "#0f0"})
    assert answer.status_code == 200, answer.text
    after = answer.json()
    assert [one["name"] for one in after["attributes"]] == ["flank", "note", "extra"]
    assert [one["id"] for one in after["attributes"]][:2] == [side["id"], note["id"]]
    assert after["attributes"][1]["default_value"] == "none"
    assert (after["name"], after["color"]) == ("car", "#00ff00")


POINT = {"type": "points", "attributes": []}


def test_names_of_attributes_and_sublabels_may_be_swapped(client: TestClient) -> None:
    parts = [{**POINT, "name": "head"}, {**POINT, "name": "foot"}]
    attributes = [SIDE, {"name": "note"}]
    created(client, "/api/tasks", name="t", labels=[{"name": "it", "sublabels": parts, "attributes": attributes}])
    label = client.get("/api/labels/1").json()
    change = {
        kind: [{**one, "name": other["name"]} for one, other in zip(label[kind], label[kind][::-1], strict=True)]
        for kind in ("attributes", "sublabels")
    }
    answer = client.patch("/api/labels/1", json=change)
    assert answer.status_code == 200, answer.text
    for kind in ("attributes", "sublabels"):
        before, after = ([(one["id"], one["name"]) for one in of[kind]] for of in (label, answer.json()))
        assert dict(after) == {number: name for (number, _), (_, name) in zip(before, before[::-1], strict=True)}, kind


@pytest.mark.parametrize("kind", ["attributes", "sublabels"])
def test_a_name_that_is_given_away_is_free_for_a_new_one(client: TestClient, kind: str) -> None:
    more = {"values": []} if kind == "attributes" else POINT
    label = {"name": "it", "type": "skeleton", "sublabels": [{**POINT, "name": "a"}], kind: [{**more, "name": "a"}]}
    created(client, "/api/tasks", name="t", labels=[label])
    (old,) = client.get("/api/labels/1").json()[kind]
    answer = client.patch("/api/labels/1", json={kind: [{**old, "name": "b"}, {**more, "name": "a"}]})
    assert answer.status_code == 200, answer.text
    assert [one["name"] for one in answer.json()[kind]] == ["b", "a"]
    assert answer.json()[kind][0]["id"] == old["id"]
    twice = client.patch("/api/labels/1", json={kind: [{**old, "name": "a"}]})
    assert (twice.status_code, "'a' is there twice" in twice.text) == (400, True)


def test_a_skeleton_stays_one_and_nothing_becomes_one_without_parts(client: TestClient) -> None:
    """A backup of a label with parts that is no skeleton could not be read again."""
    both = [{"name": "it", "sublabels": [{**POINT, "name": "head"}]}, {"name": "plain"}]
    task = created(client, "/api/tasks", name="t", labels=both)
    it, plain = labels_of(client, f"task_id={task['id']}")
    for label, kind, words in ((it, "any", "is a skeleton and stays one"), (plain, "skeleton", "needs sublabels")):
        answer = client.patch(f"/api/labels/{label['id']}", json={"type": kind})
        assert (answer.status_code, words in answer.json()["detail"]) == (400, True), answer.text
    assert labels_of(client, f"task_id={task['id']}") == [it, plain]
    assert client.patch(f"/api/labels/{it['id']}", json={"type": "skeleton", "color": "#123456"}).status_code == 200
    parts = {"type": "skeleton", "sublabels": [{**POINT, "name": "tail"}]}
    assert client.patch(f"/api/labels/{plain['id']}", json=parts).json()["type"] == "skeleton"


def test_a_label_goes_by_delete_only(client: TestClient) -> None:
    created(client, "/api/tasks", name="t", labels=[{"name": "car"}])
    assert client.patch("/api/labels/1", json={"id": 1, "deleted": True}).status_code == 400
    assert client.patch("/api/labels/1", json={"id": 2, "name": "x"}).status_code == 400
    assert client.delete("/api/labels/1").status_code == 204
    assert client.get("/api/labels/1").status_code == 404
    assert client.delete("/api/labels/1").status_code == 404


def test_taking_an_attribute_away_is_refused_and_says_what_to_do(client: TestClient) -> None:
    created(client, "/api/tasks", name="t", labels=[{"name": "car", "attributes": [SIDE]}])
    answer = client.patch("/api/labels/1", json={"attributes": [{**SIDE, "deleted": True}]})
    assert answer.status_code == 400
    assert "side" in answer.json()["detail"]
