"""A plain HTTP caller of the service, for tests that care what is in an archive and not how it got there."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.service import ADMIN, PASSWORD, Running

FORMAT = "Open Images V6 1.0"
FINAL = ("finished", "failed")
WAIT_SECONDS = 240.0


class Caller:
    """One user of a service. Every refusal is an AssertionError that holds the answer."""

    def __init__(self, service: Running) -> None:
        auth = (ADMIN, PASSWORD) if service.auth_mode == "users" else None
        self.http = httpx.Client(base_url=service.url, auth=auth, timeout=WAIT_SECONDS)

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def call(self, method: str, path: str, **more: Any) -> httpx.Response:
        answer = self.http.request(method, path, **more)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text[:3000]}"
        return answer

    def json(self, method: str, path: str, **more: Any) -> Any:
        return self.call(method, path, **more).json()

    def wait(self, rq_id: str) -> Any:
        """The request once it is final, which must be well."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            request = self.json("GET", f"/api/requests/{rq_id}")
            if request["status"] in FINAL:
                assert request["status"] == "finished", request["message"]
                return request
            time.sleep(0.02)
        raise AssertionError(f"request {rq_id} is not final after {WAIT_SECONDS:.0f} s")

    def task(
        self,
        name: str,
        labels: Sequence[Mapping[str, Any]],
        pictures: Mapping[str, bytes] | Path,
        **fields: Any,
    ) -> int:
        """A task whose frames are `pictures`, by their path; they travel in one zip, so folders stay."""
        body = {"name": name, **fields} | ({"labels": list(labels)} if "project_id" not in fields else {})
        number = self.json("POST", "/api/tasks", json=body)["id"]
        if isinstance(pictures, Path):
            with pictures.open("rb") as stream:
                started = self.json("POST", f"/api/tasks/{number}/data", files={"client_files[0]": ("p.zip", stream)})
        else:
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w") as archive:
                for path, content in pictures.items():
                    archive.writestr(path, content)
            started = self.json(
                "POST", f"/api/tasks/{number}/data", files={"client_files[0]": ("p.zip", packed.getvalue())}
            )
        self.wait(started["rq_id"])
        return int(number)

    def labels(self, number: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.json("GET", f"/api/labels?task_id={number}&page_size=500")["results"]
        return found

    def annotate(self, number: int, annotations: Mapping[str, Any]) -> None:
        """Set a task's annotations; labels and attributes are given by name (`label`, `attributes` as a dict)."""
        by_name = {label["name"]: label for label in self.labels(number)}

        def numbered(each: Mapping[str, Any]) -> dict[str, Any]:
            label = by_name[each["label"]]
            specs = {spec["name"]: spec["id"] for spec in label["attributes"]}
            values = [{"spec_id": specs[name], "value": value} for name, value in each.get("attributes", {}).items()]
            kept = {key: value for key, value in each.items() if key not in ("label", "attributes")}
            return {**kept, "label_id": label["id"], "attributes": values}

        body = {kind: [numbered(each) for each in listed] for kind, listed in annotations.items()}
        self.call("PUT", f"/api/tasks/{number}/annotations", json=body)

    def annotations(self, number: int) -> Any:
        return self.json("GET", f"/api/tasks/{number}/annotations")

    def bring(self, number: int, archive: Path, format_name: str = FORMAT, **options: Any) -> Any:
        """Import an archive by the one-call door; the report."""
        query = {"format": format_name, "wait": 150, **options}
        with archive.open("rb") as body:
            answer = self.call("POST", f"/api/tasks/{number}/import", params=query, content=body)
        assert answer.status_code == 200, answer.text[:3000]
        return answer.json()

    def export(self, number: int, path: Path, format_name: str = FORMAT, of: str = "tasks", **options: Any) -> Path:
        """Export by the one-call door (`of` tasks), or by CVAT's way (jobs, projects)."""
        if of == "tasks":
            query = {"format": format_name, **options}
            with self.http.stream("GET", f"/api/{of}/{number}/export", params=query) as answer:
                assert answer.status_code == 200, answer.read()[:3000]
                with path.open("wb") as sink:
                    for chunk in answer.iter_bytes():
                        sink.write(chunk)
        else:
            started = self.json("POST", f"/api/{of}/{number}/dataset/export", params={"format": format_name, **options})
            done = self.wait(started["rq_id"])
            path.write_bytes(self.call("GET", done["result_url"]).content)
        return path
