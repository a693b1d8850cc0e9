"""Logging in and out in every way, and what is asked once logged in."""

from __future__ import annotations

import urllib.error
import urllib.request

from cvat_sdk import make_client, models
from cvat_sdk.api_client import ApiClient, Configuration, exceptions
from telling import REQUEST, connect, tell


def status_of(call) -> int:
    try:
        call()
    except exceptions.ApiException as error:
        return error.status
    return 200


anonymous = connect(login=False)
about, _ = anonymous.api_client.server_api.retrieve_about()
before_login = status_of(lambda: anonymous.users.retrieve_current_user())

client = connect()
user = client.users.retrieve_current_user()
formats, _ = client.api_client.server_api.retrieve_annotation_formats()
cookies = sorted(client.api_client.cookies)
token, _ = client.api_client.auth_api.create_access_tokens(
    access_token_write_request={"name": "for a test", "expiry_date": None, "read_only": False}
)
client.login((REQUEST["user"], REQUEST["password"]))  # a second login logs out first
client.logout()
after_logout = status_of(lambda: client.users.retrieve_current_user())

by_token = make_client(REQUEST["url"], access_token=token.value)
token_user = by_token.users.retrieve_current_user().username
token_self, _ = by_token.api_client.auth_api.retrieve_access_tokens_self()
by_wrong_token = make_client(REQUEST["url"], access_token=token.value + "x")
wrong_token = status_of(lambda: by_wrong_token.users.retrieve_current_user())

client.login((REQUEST["user"], REQUEST["password"]))
task = client.tasks.create_from_data(
    models.TaskWriteRequest(name="read", labels=[{"name": "cat"}]), REQUEST["pictures"]
)
reading, _ = client.api_client.auth_api.create_access_tokens(
    access_token_write_request={"name": "reads", "expiry_date": None, "read_only": True}
)
reader = make_client(REQUEST["url"], access_token=reading.value)
seen = reader.tasks.retrieve(task.id)
read = [
    seen.export_dataset(REQUEST["format"], f"{REQUEST['folder']}/"),
    seen.download_backup(f"{REQUEST['folder']}/"),
    seen.get_jobs()[0].export_dataset(REQUEST["format"], f"{REQUEST['folder']}/", include_images=False),
]
changed = status_of(lambda: seen.update({"name": "changed"}))
client.tasks.remove_by_ids([task.id])
client.logout()

with ApiClient(Configuration(REQUEST["url"], username=REQUEST["user"], password=REQUEST["password"])) as low_level:
    basic_user = low_level.users_api.retrieve_self()[0].username

try:
    make_client(REQUEST["url"], credentials=(REQUEST["user"], "not it"))
    wrong_password = (200, "")
except exceptions.ApiException as error:
    wrong_password = (error.status, error.body.decode() if isinstance(error.body, bytes) else str(error.body))


def bare(path: str, header: str) -> int:
    request = urllib.request.Request(REQUEST["url"] + path, headers={"Authorization": header})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


keyed = connect(login=False)
login, _ = keyed.api_client.auth_api.create_login(
    login_serializer_ex_request={"username": REQUEST["user"], "password": REQUEST["password"]}
)

tell(
    about=about,
    before_login=before_login,
    user=user,
    formats=formats,
    cookies=cookies,
    after_logout=after_logout,
    token_user=token_user,
    token_name=token_self.name,
    wrong_token=wrong_token,
    read=read,
    changed=changed,
    basic_user=basic_user,
    wrong_password=wrong_password,
    key_length=len(login.key),
    key=bare("/api/users/self", f"Token {login.key}"),
    wrong_key=bare("/api/users/self", "Token 0000"),
)
