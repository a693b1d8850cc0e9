"""More bad requests: bodies that are JSON or forms, of every call that takes one, and queries that are JSON Logic."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

from tests.hostile.requests import ADMIN, JSON, annotations, bad, form, shape

TASKS, LABELS, IMPORT = "/api/tasks", "/api/labels", "/api/tasks/{}/import"


def send(name: str, target: str, body: object, statuses: int | Sequence[int] = 400, method: str = "POST") -> None:
    """A JSON body to any call; bytes go as they are."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    bad(f"json: {name}", method, target, statuses, [JSON], data)


def labels(name: str, *listed: Any, statuses: int | Sequence[int] = 400) -> None:
    send(f"labels: {name}", TASKS, {"name": "x", "labels": list(listed)}, statuses)


def shapes(name: str, *listed: Any, **more: Any) -> None:
    annotations(name, {"shapes": list(listed), **more})


PLAIN = shape()["shapes"][0]
BIG = 1 << 62

# --- numbers

annotations("a point of 1e308", shape(points=[0, 0, 1e308, 1e308]))
annotations("points of -1e308", shape(points=[-1e308, -1e308, 1, 1]))
annotations("a point of 2^63", shape(points=[0, 0, 1 << 63, 1]))
annotations(
    "a point of 400 digits",
    b'{"shapes": [{"type": "rectangle", "frame": 0, "label_id": 1, "points": [0, 0, 1, %s]}]}' % (b"9" * 400),
)
annotations("a point that is null", shape(points=[None, 1, 3, 3]))
annotations("a point that is a list", shape(points=[[1, 1], [3, 3]]))
annotations("points that are an object", shape(points={"0": 1}))
annotations("no points", shape(points=[]))
annotations(
    "points of a track of 1e400",
    b'{"tracks": [{"frame": 0, "label_id": 1, "shapes": [{"type": "points", "frame": 0, "points": [0, -1e400]}]}]}',
)
annotations("a frame of 1.5", shape(frame=1.5))
annotations("a frame of -0.5", shape(frame=-0.5))
annotations("a frame that is a text", shape(frame="0"))
annotations("a frame of 1e300", shape(frame=1e300))
annotations("a frame of -2^63", shape(frame=-(1 << 63)))
annotations("a frame of 2^64", shape(frame=1 << 64))
annotations("a group below zero", shape(group=-1))
annotations("a group of 2^40", shape(group=1 << 40))
annotations("a group that is a list", shape(group=[]))
annotations("a z-order of 2^40", shape(z_order=1 << 40))
annotations("a z-order of NaN", json.dumps(shape(z_order=float("nan"))).encode())
annotations("a rotation of 1e300", shape(rotation=1e300))
annotations("a rotation that is a text", shape(rotation="90"))
annotations("occluded: 2", shape(occluded=2))
annotations("occluded: a text", shape(occluded="false"))
annotations("outside: null", shape(outside=None))
annotations("an id of 2^64", shape(id=1 << 64), 400, "PATCH")
annotations("an id of 0", shape(id=0), 400, "PATCH")
annotations("an id that is a text", shape(id="1"), 400, "PATCH")
annotations("an id that is missing", shape(), 400, "PATCH")
annotations("the same id twice", {"shapes": [{**PLAIN, "id": 5}] * 2}, [400, 404], "PATCH")
annotations("a version that is a list", {**shape(frame=99), "version": []})
annotations("a label that is a text", shape(label_id="1"))
annotations("a label that is null", shape(label_id=None))
annotations("a label of 1.5", shape(label_id=1.5))
annotations("a label below zero", shape(label_id=-1))

# --- shapes

annotations("a type that is a number", shape(type=4))
annotations("a type that is null", shape(type=None))
annotations("a type of 1 MB", shape(type="x" * (1 << 20)))
annotations("a type in another case", shape(type="RECTANGLE"))
annotations("a rectangle of five numbers", shape(points=[1, 2, 3, 4, 5]))
annotations("a rectangle of 100,000 numbers", shape(points=[1] * 100_000))
annotations("an ellipse of two numbers", shape(type="ellipse", points=[1, 2]))
annotations("a cuboid of four numbers", shape(type="cuboid", points=[1, 2, 3, 4]))
annotations("a skeleton that has points", shape(type="skeleton", points=[1, 2]))
annotations("a polygon of one point", shape(type="polygon", points=[1, 1]))
annotations("elements that are a text", shape(type="skeleton", points=[], elements="x"))
annotations("elements of null", shape(type="skeleton", points=[], elements=[None]))


def skeletons(depth: int) -> dict[str, Any]:
    one: dict[str, Any] = {"type": "skeleton", "frame": 0, "label_id": 1, "points": [], "elements": []}
    for _ in range(depth):
        one = {"type": "skeleton", "frame": 0, "label_id": 1, "points": [], "elements": [one]}
    return {"shapes": [one]}


annotations("a skeleton in a skeleton", skeletons(1))
annotations("skeletons 25 deep", skeletons(25))
annotations("skeletons 400 deep", skeletons(400))
annotations(
    "a skeleton of 100,000 elements",
    shape(type="skeleton", points=[], elements=[{"type": "points", "label_id": 9, "points": [1, 1]}] * 100_000),
)

# --- masks

annotations("a mask of four numbers", shape(type="mask", points=[0, 0, 1, 1]))
annotations("a mask of no runs", shape(type="mask", points=[]))
annotations("a mask of fractions", shape(type="mask", points=[1.5, 34.5, 0, 0, 5, 5]))
annotations("a mask box of fractions", shape(type="mask", points=[0, 36, 0.5, 0, 5, 5]))
annotations("a mask upside down", shape(type="mask", points=[0, 36, 5, 5, 0, 0]))
annotations("a mask box below zero", shape(type="mask", points=[0, 49, -1, -1, 5, 5]))
annotations("a mask box over the right edge", shape(type="mask", points=[0, 4, 7, 4, 8, 5]))
annotations("runs that wrap around 2^32", shape(type="mask", points=[(1 << 32) - 1, 37, 0, 0, 5, 5]))
annotations("runs that wrap around 2^63", shape(type="mask", points=[BIG, BIG, BIG, BIG, 36, 0, 0, 5, 5]))
annotations("runs of 1e308", shape(type="mask", points=[1e308, 1e308, 0, 0, 5, 5]))
annotations("runs that are true", shape(type="mask", points=[True, 35, 0, 0, 5, 5]))
annotations("100,000 runs of nothing and a wrong sum", shape(type="mask", points=[0] * 99_990 + [35, 0, 0, 5, 5]))

# --- tracks

ONE = {"type": "rectangle", "frame": 0, "points": [0, 0, 1, 1], "outside": False}


def track(name: str, *listed: Any, **more: Any) -> None:
    annotations(f"a track {name}", {"tracks": [{"frame": 0, "label_id": 1, "shapes": list(listed), **more}]})


track("that goes back", {**ONE, "frame": 2}, {**ONE, "frame": 2})
track("of frames below zero", {**ONE, "frame": -5})
track("of frames of 2^70", {**ONE, "frame": 1 << 70})
track("beginning after all frames", ONE, frame=99)
track("of polygons that change", {**ONE, "type": "polygon", "points": [0, 0, 1]})
track("of null", None)
track("whose shapes are a text", frame=0, shapes="x")
track("of a million shapes", *[0] * 300_000)
track(
    "of elements in elements",
    ONE,
    elements=[{"label_id": 1, "frame": 0, "shapes": [ONE], "elements": [{"label_id": 1, "frame": 0, "shapes": [ONE]}]}],
)

# --- attributes and texts

annotations("attributes that are a text", shape(attributes="x"))
annotations("attributes that are an object", shape(attributes={"1": "x"}))
annotations("attributes of null", shape(attributes=[None]))
annotations("an attribute without id", shape(attributes=[{"value": "x"}]))
annotations("an attribute with an id of text", shape(attributes=[{"spec_id": "1", "value": "x"}]))
annotations("an attribute of 2^70", shape(attributes=[{"spec_id": 1 << 70, "value": "x"}]))
annotations("an attribute whose value is a list", shape(attributes=[{"spec_id": 1, "value": []}]))
annotations("an attribute of 5,000 characters", shape(attributes=[{"spec_id": 1, "value": "x" * 5000}]))
annotations("an attribute with NUL", shape(attributes=[{"spec_id": 1, "value": "a\0b"}]))
annotations("a source of 300 characters", shape(source="x" * 300))
annotations("a source that is a number", shape(source=5))
annotations(
    "a source of a lone surrogate",
    b'{"shapes": [{"type": "rectangle", "frame": 0, "label_id": 1, "points": [1,1,3,3], "source": "\\ud800"}]}',
)
annotations("a byte order mark and nonsense", b"\xef\xbb\xbf{")
annotations("two documents", b'{"shapes": []} {"shapes": []}')
annotations("a comment", b'{"shapes": [] /* none */}')
annotations("a comma at the end", b'{"shapes": [],}')
annotations("single quotes", b"{'shapes': []}")
annotations("an open text of 8 MB", b'{"shapes": "' + b"x" * (8 << 20))
annotations("8 MB of backslashes", b'{"shapes": "' + b"\\" * (8 << 20))
annotations("8 MB of noise", random.Random(7).randbytes(8 << 20))
annotations("a million names", b"{" + b",".join(b'"%d":0' % number for number in range(300_000)) + b',"shapes":7}')
annotations("the same name a million times", b"{" + b'"shapes":[],' * 300_000 + b'"shapes":7}')
annotations("depth 65 in an attribute", b'{"shapes":[{"attributes":' + b"[" * 65 + b"]" * 65 + b"}]}")
annotations("unknown lists", {"boxes": [1], "shapes": 3})
annotations("intervals", {"intervals": [{"frame": 0}]})
annotations("null", b"null")
annotations("true", b"true")
annotations("a text", b'"shapes"')
annotations("tags that are a number", {"tags": 1})
annotations("tracks that are an object", {"tracks": {}})
annotations("a tag on no frame", {"tags": [{"label_id": 1}]})
annotations("200,001 tags", {"tags": [{"frame": 0, "label_id": 1}] * 200_001})

# --- labels

labels("a name that is empty", {"name": ""})
labels("a name of blanks", {"name": "   "})
labels("a name of 1 MB", {"name": "x" * (1 << 20)})
labels("a name with a control character", {"name": "a\x07b"})
labels("a name with NUL", {"name": "a\0b"})
labels("a name that is a number", {"name": 5})
labels("a name that is null", {"name": None})
labels("a label that is a text", "cat")
labels("a colour of words", {"name": "a", "color": "javascript:alert(1)"})
labels("a colour of 1 MB", {"name": "a", "color": "#" + "f" * (1 << 20)})
labels("an unknown type", {"name": "a", "type": "heart"})
labels("attributes that are a text", {"name": "a", "attributes": "x"})
labels(
    "an attribute without name", {"name": "a", "attributes": [{"input_type": "text", "mutable": False, "values": []}]}
)
labels(
    "an unknown kind of attribute",
    {"name": "a", "attributes": [{"name": "b", "input_type": "file", "mutable": False, "values": []}]},
)
labels(
    "values that are numbers",
    {"name": "a", "attributes": [{"name": "b", "input_type": "select", "mutable": False, "values": [1, 2]}]},
    statuses=[201, 400],
)
labels(
    "values that are a text",
    {"name": "a", "attributes": [{"name": "b", "input_type": "select", "mutable": False, "values": "x"}]},
)
labels(
    "a value of 1 MB",
    {"name": "a", "attributes": [{"name": "b", "input_type": "select", "mutable": False, "values": ["x" * (1 << 20)]}]},
)
labels(
    "a default that is none of the values",
    {
        "name": "a",
        "attributes": [{"name": "b", "input_type": "select", "mutable": False, "values": ["x"], "default_value": "y"}],
    },
    statuses=[201, 400],
)
labels(
    "the same attribute twice",
    {"name": "a", "attributes": [{"name": "b", "input_type": "text", "mutable": False, "values": []}] * 2},
)
labels("100,000 labels of one name", *[{"name": "a"}] * 100_000)
labels(
    "100,000 attributes",
    {
        "name": "a",
        "attributes": [{"name": f"b{n}", "input_type": "text", "mutable": False, "values": []} for n in range(100_000)],
    },
    statuses=413,
)
labels(
    "a number that is none",
    {"name": "a", "attributes": [{"name": "b", "input_type": "number", "mutable": False, "values": ["0", "x", "1"]}]},
    statuses=[201, 400],
)
labels(
    "sublabels in sublabels",
    {
        "name": "a",
        "type": "skeleton",
        "sublabels": [{"name": "b", "type": "skeleton", "sublabels": [{"name": "c"}]}],
        "svg": "",
    },
)
labels("a skeleton without sublabels", {"name": "a", "type": "skeleton"}, statuses=[201, 400])
labels(
    "an SVG that is a script",
    {"name": "a", "type": "skeleton", "sublabels": [{"name": "b"}], "svg": "<script>alert(1)</script>"},
    statuses=[201, 400],
)
labels("an id of 2^70", {"id": 1 << 70, "name": "a"}, statuses=[400, 404])
send("labels: a change of one that is not there", LABELS + "/999999", {"name": "x"}, 404, "PATCH")
send("labels: a change to nothing", LABELS + "/1", b"", 400, "PATCH")
send("labels: a change to a list", LABELS + "/1", [], 400, "PATCH")
send("labels: a change to another's name", LABELS + "/1", {"name": "dog"}, [400, 409], "PATCH")

# --- tasks, projects, requests, users

send("a task that is a list", TASKS, [])
send("a task whose name is a list", TASKS, {"name": ["x"]})
send("a task whose name is blank", TASKS, {"name": "  "})
send("a task whose name breaks lines", TASKS, {"name": "a\nb", "labels": []})
send("a task with labels that are a number", TASKS, {"name": "x", "labels": 5})
send("a task with labels and a project", TASKS, {"name": "x", "labels": [{"name": "a"}], "project_id": 1}, [400, 404])
send("a task of 2^70 a segment", TASKS, {"name": "x", "segment_size": 1 << 70})
send("a task of an overlap below zero", TASKS, {"name": "x", "overlap": -1})
send("a task in a project of 2^70", TASKS, {"name": "x", "project_id": 1 << 70}, [400, 404])
send("a task of an assignee that is none", TASKS, {"name": "x", "labels": [], "assignee_id": 1 << 40}, [400, 404])
send("a task of an unknown subset", TASKS, {"name": "x", "labels": [], "subset": "../../etc"}, [201, 400])
send("a change of a task to nothing", TASKS + "/{}", {"name": ""}, 400, "PATCH")
send("a change of a task to a name of 300", TASKS + "/{}", {"name": "x" * 300}, 400, "PATCH")
send("a change of a task to a foreign project", TASKS + "/{}", {"project_id": 1 << 40}, [400, 404], "PATCH")
send("a project without name", "/api/projects", {})
send("a project with labels twice", "/api/projects", {"name": "x", "labels": [{"name": "a"}, {"name": "a"}]})
send("deleted frames of text", TASKS + "/{}/data/meta", {"deleted_frames": ["x"]}, 400, "PATCH")
send("deleted frames of 2^70", TASKS + "/{}/data/meta", {"deleted_frames": [1 << 70]}, 400, "PATCH")
send("deleted frames that are not there", TASKS + "/{}/data/meta", {"deleted_frames": [99]}, 400, "PATCH")
send("a million deleted frames", TASKS + "/{}/data/meta", {"deleted_frames": [99] * 1_000_000}, 400, "PATCH")
send("an export of an unknown format", TASKS + "/{}/dataset/export?format=x", b"", 400)
send(
    "an export to a bucket",
    TASKS + "/{}/dataset/export?format=Open%20Images%20V6%201.0&location=cloud_storage&cloud_storage_id=1",
    b"",
    400,
)
send("an export without format", TASKS + "/{}/dataset/export", b"", 400)
send("data of a task that has them", TASKS + "/{}/data", {"image_quality": 70}, 400)
send("a cancelled request that is none", "/api/requests/x/cancel", b"", 404)
send("an issue of a frame of 2^70", "/api/issues", {"job": 1, "frame": 1 << 70, "position": [1, 2], "message": "x"})
send("an issue at no place", "/api/issues", {"job": 1, "frame": 0, "position": "x", "message": "x"})
send("an issue of 1 MB", "/api/issues", {"job": 1, "frame": 0, "position": [1, 2], "message": "x" * (1 << 20)})
send("an issue of NaN", "/api/issues", b'{"job": 1, "frame": 0, "position": [NaN, 1], "message": "x"}')
send("a comment to none", "/api/comments", {"issue": 999999, "message": "x"}, [400, 404])
send(
    "a token that ended already",
    "/api/auth/access_tokens",
    {"name": "x", "expiry_date": "0001-01-01T00:00:00+23:59"},
    [201, 400],
)
send("a token that ends in nonsense", "/api/auth/access_tokens", {"name": "x", "expiry_date": "tomorrow"})
send("a token with a name of 1 MB", "/api/auth/access_tokens", {"name": "x" * (1 << 16)})
send("a login of the wrong password", "/api/auth/login", {"username": ADMIN + "x", "password": "y"})
send("a login of bytes", "/api/auth/login", b"\xff\xfe\x00")
send("a job of an unknown state", "/api/jobs/1", {"state": "exploded"}, 400, "PATCH")
send("a job of an assignee of 2^70", "/api/jobs/1", {"assignee": 1 << 70}, [400, 404], "PATCH")

# --- JSON Logic


def logic(name: str, text: object, statuses: Sequence[int] = (400,)) -> None:
    from urllib.parse import quote

    said = quote(text if isinstance(text, str) else json.dumps(text))
    bad(f"filter: {name}", "GET", f"/api/tasks?filter={said}", [*statuses, 414])


logic("a list", [])
logic("a text", '"x"')
logic("null", "null")
logic("two operators", {"==": [{"var": "id"}, 1], "!": [1]})
logic("no operands", {"and": []})
logic("an operand that is a number", {"and": [1]})
logic("an unknown field", {"==": [{"var": "owner__password"}, "x"]})
logic("a field that is a number", {"==": [{"var": 5}, "x"]})
logic("a field that is a list", {"==": [{"var": ["id"]}, "x"]})
logic("a value that is a list", {"==": [{"var": "id"}, [1]]})
logic("a value that is an object", {"==": [{"var": "name"}, {"var": "name"}]})
logic("an id of 2^70", {"==": [{"var": "id"}, 1 << 70]})
logic("an id of NaN", '{"==": [{"var": "id"}, NaN]}')
logic("an id of 1e300", {"<": [{"var": "id"}, 1e300]}, (200, 400))
logic("a moment of nonsense", {"<": [{"var": "updated_date"}, "soon"]})
logic("a moment of the year 1", {"<": [{"var": "updated_date"}, "0001-01-01T00:00:00+23:59"]})
logic("3,000 values", {"in": [{"var": "id"}, list(range(1500))]}, (200, 400))
logic("not not not", '{"!":' * 500 + '{"var":"id"}' + "}" * 500)
logic("and 30 deep", '{"and":[' * 30 + '{"var":"id"}' + "]}" * 30, (200, 400))
logic("a NUL", {"in": ["\0", {"var": "name"}]})
logic("a lone surrogate", '{"in": ["\\ud800", {"var": "name"}]}')
for _name, _query in {
    "an unknown sort": "sort=password",
    "a sort of 300 fields": "sort=" + "id," * 300,
    "a sort of minus signs": "sort=----id",
    "a page that is a list": "page[]=1",
    "a page of other digits": "page=%D9%A1",
    "a page size of 10^30": "page_size=1" + "0" * 30,
    "a search of 10 KB": "search=" + "x" * 10_000,
    "an owner of NUL": "owner=a%00b",
    "an id of words": "id=x",
    "an id of 2^70": "id=" + str(1 << 70),
    "10,000 names": "&".join(f"a{n}=1" for n in range(3000)),
    "a broken percent": "search=%zz%",
}.items():
    bad(f"query: {_name}", "GET", "/api/tasks?" + _query, [200, 400, 404, 414])

# --- forms


def parts(
    name: str, body: bytes, statuses: Sequence[int] = (400,), boundary: str = "XX", kind: str = "form-data"
) -> None:
    header = ("Content-Type", f"multipart/{kind}; boundary={boundary}")
    bad(f"form: {name}", "POST", IMPORT, statuses, [header], body)


ENDED = b"\r\n--XX--\r\n"
FILE = b'--XX\r\nContent-Disposition: form-data; name="file"; filename="a.zip"\r\n'
parts("nothing", b"")
parts("only an end", b"--XX--\r\n")
parts("only a boundary", b"--XX\r\n")
parts("a boundary with line feeds", FILE.replace(b"\r", b"") + b"\nPK\n--XX--\n")
parts(
    "100,000 empty parts",
    b"".join(b'--XX\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n' for _ in range(100_000)) + b"--XX--\r\n",
    (400, 413),
)
parts("100,000 files", b"".join(FILE + b"\r\n\r\n" for _ in range(100_000)) + b"--XX--\r\n", (400, 413))
parts(
    "100,000 headers in a part",
    FILE + b"".join(b"X-%d: y\r\n" % n for n in range(100_000)) + b"\r\nPK" + ENDED,
    (400, 413),
)
parts("a header without end", FILE + b"X: " + b"y" * 15_000)
parts("a header without colon", FILE + b"hello\r\n\r\nPK" + ENDED)
parts("a header with NUL", FILE + b"X: a\0b\r\n\r\nPK" + ENDED)
parts("a name with NUL", b'--XX\r\nContent-Disposition: form-data; name="fi\0le"; filename="a.zip"\r\n\r\nPK' + ENDED)
parts("a name that is not UTF-8", b'--XX\r\nContent-Disposition: form-data; name="\xff\xfe"\r\n\r\nPK' + ENDED)
parts(
    "a file name that is not UTF-8",
    b'--XX\r\nContent-Disposition: form-data; name="file"; filename="\xff.zip"\r\n\r\nPK' + ENDED,
)
parts(
    "a file name of 15 KB",
    b'--XX\r\nContent-Disposition: form-data; name="file"; filename="' + b"x" * 15_000 + b'"\r\n\r\nPK' + ENDED,
)
parts(
    "a file name of slashes", b'--XX\r\nContent-Disposition: form-data; name="file"; filename="////"\r\n\r\nPK' + ENDED
)
parts("a file name of dots", b'--XX\r\nContent-Disposition: form-data; name="file"; filename=".."\r\n\r\nPK' + ENDED)
parts("an empty file name", b'--XX\r\nContent-Disposition: form-data; name="file"; filename=""\r\n\r\nPK' + ENDED)
parts("an attachment", b'--XX\r\nContent-Disposition: attachment; name="file"; filename="a.zip"\r\n\r\nPK' + ENDED)
parts("an open quote", b'--XX\r\nContent-Disposition: form-data; name="file\r\n\r\nPK' + ENDED)
parts("two dispositions", FILE + b'Content-Disposition: form-data; name="x"\r\n\r\nPK' + ENDED)
parts("a form in a form", FILE + b"Content-Type: multipart/mixed; boundary=YY\r\n\r\n--YY\r\n\r\nPK\r\n--YY--" + ENDED)
parts("another boundary within", FILE + b"\r\nPK\r\n--XXY\r\n\r\nhello" + ENDED)
parts("a text for the file", b'--XX\r\nContent-Disposition: form-data; name="file"\r\n\r\nPK' + ENDED)
parts("mixed instead of form-data", FILE + b"\r\nPK" + ENDED, (400, 415), kind="mixed")
parts("a boundary of blanks", FILE + b"\r\nPK" + ENDED, boundary='"  "')
parts("a boundary of other letters", FILE + b"\r\nPK" + ENDED, boundary='"\u00e4"')
parts("8 MB of dashes", b"-" * (8 << 20))
parts("8 MB of almost boundaries", FILE + b"\r\n" + b"\r\n--X" * (1 << 20), (400,))
_head, _body = form(*((f'name="client_files[{n}]"; filename="{n}.png"', b"") for n in range(12_000)))
bad("form: 12,000 pictures that are empty", "POST", "/api/tasks/{}/data", [400, 413], [_head], _body)
