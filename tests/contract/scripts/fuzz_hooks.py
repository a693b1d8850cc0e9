"""What the fuzzer is told of a service beside its contract: what is there. Read by schemathesis, not by pytest."""

from __future__ import annotations

import json
import os
import random

import schemathesis

THERE: dict[str, list[object]] = json.loads(os.environ["FUZZ_IDS"])
FORMAT = "Open Images V6 1.0"
chance = random.Random(7)


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Mostly things that are there, unless they would be removed: random ids find nothing."""
    if not path_parameters or context.operation.method.upper() == "DELETE":
        return path_parameters
    known = {name: chance.choice(THERE[name]) for name in path_parameters if THERE.get(name)}
    return {**path_parameters, **known} if chance.random() < 0.9 else path_parameters


@schemathesis.hook
def map_query(context, query):
    """Mostly the one format, and no long wait for work."""
    if context.operation.path.endswith("/import"):
        query = {**(query or {}), "wait": "0.5"}
    if query and "format" in query and chance.random() < 0.8:
        query = {**query, "format": FORMAT}
    return query


@schemathesis.hook
def after_call(context, case, response):
    """`Upload-Start` is answered by a status alone, as CVAT does; an answer by header is more than OpenAPI can say."""
    if response.status_code == 202 and not response.content and "Upload-Start" in (case.headers or {}):
        response.headers["content-type"] = ["application/json"]
        response.content = b'{"rq_id": "none"}'
