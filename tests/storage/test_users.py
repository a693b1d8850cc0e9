"""Accounts, passwords, tokens, sessions."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
import sqlalchemy as sa

from app.errors import Conflict, InvalidInput, NoSpace, NotAuthenticated, NotFound, TooManyRequests
from app.storage import ListQuery, Storage, User, sessions, tokens, users
from app.storage.schema import login_failures, metadata, now
from app.storage.schema import sessions as session_table
from app.storage.schema import tokens as token_table
from tests import passwords


@pytest.fixture
def cat(storage: Storage) -> User:
    with storage.database.write() as conn:
        return users.create(conn, "Cat", "secret", first_name="C")


def test_a_right_password_is_taken_in_any_case_of_the_name(storage: Storage, cat: User) -> None:
    found = users.authenticate(storage.database, "cAT", "secret", "::1")
    assert (found.id, found.first_name) == (cat.id, "C")
    assert found.last_login is not None


@pytest.mark.parametrize(
    ("name", "password"), [("Cat", "wrong"), ("nobody", "secret"), ("ann", ""), ("Cat", "secret ")]
)
def test_a_wrong_name_or_password_gets_one_answer(storage: Storage, cat: User, name: str, password: str) -> None:
    with pytest.raises(NotAuthenticated) as caught:
        users.authenticate(storage.database, name, password, "::1")
    assert caught.value.detail == "wrong user name or password"


@pytest.mark.usefixtures("costly_passwords")
def test_passwords_are_hashed_as_rfc_9106_recommends(storage: Storage) -> None:
    with storage.database.write() as conn:
        made = users.create(conn, "Cat", "secret")
        known = conn.execute(sa.select(metadata.tables["users"].c.password_hash).filter_by(id=made.id)).scalar_one()
    assert known.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


@pytest.mark.usefixtures("costly_passwords")
def test_a_hash_of_other_costs_is_made_anew_when_its_password_comes(storage: Storage) -> None:
    column = metadata.tables["users"].c.password_hash
    with storage.database.write() as conn:
        made = users.create(conn, "Cat", "secret")
        cheap = passwords.CHEAP.hash("secret")
        conn.execute(sa.update(column.table).filter_by(id=made.id).values(password_hash=cheap))
    assert users.authenticate(storage.database, "Cat", "secret", "::1").id == made.id
    with storage.database.read() as conn:
        known = conn.execute(sa.select(column).filter_by(id=made.id)).scalar_one()
    assert known.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


@pytest.mark.usefixtures("costly_passwords")
def test_unknown_names_take_as_long_as_known_ones(storage: Storage, cat: User) -> None:
    def seconds(name: str) -> float:
        best = 9.0
        for attempt in range(3):
            began = time.perf_counter()
            with pytest.raises(NotAuthenticated):
                users.authenticate(storage.database, name, "wrong", f"address {attempt}")
            best = min(best, time.perf_counter() - began)
        return best

    seconds("warm up")
    assert seconds("nobody") > seconds("Cat") / 3  # without the same hashing it is a hundredth


def test_failures_slow_down_a_name_and_address_only(storage: Storage, cat: User) -> None:
    for _ in range(3):
        with pytest.raises(NotAuthenticated):
            users.authenticate(storage.database, "Cat", "wrong", "1.1.1.1", max_failures_per_minute=3)
    with pytest.raises(TooManyRequests):
        users.authenticate(storage.database, "cat", "secret", "1.1.1.1", max_failures_per_minute=3)
    assert users.authenticate(storage.database, "Cat", "secret", "2.2.2.2", max_failures_per_minute=3).id == cat.id
    with storage.database.write() as conn:
        conn.execute(login_failures.update().values(moment=now() - timedelta(seconds=61)))
    assert users.authenticate(storage.database, "Cat", "secret", "1.1.1.1", max_failures_per_minute=3).id == cat.id


def test_an_inactive_account_cannot_log_in(storage: Storage, cat: User) -> None:
    with storage.database.write() as conn:
        _, secret = tokens.create(conn, cat.id, "t")
        session_key, _ = sessions.create(conn, cat.id)
        users.change(conn, cat.id, is_active=False)
    with pytest.raises(NotAuthenticated):
        users.authenticate(storage.database, "Cat", "secret", "::1")
    assert tokens.verify(storage.database, secret) is None
    with storage.database.read() as conn:
        assert sessions.find(conn, session_key) is None


def test_a_new_password_ends_sessions_and_login_keys(storage: Storage, cat: User) -> None:
    with storage.database.write() as conn:
        _, login_key = tokens.create(conn, cat.id, kind="login")
        _, access = tokens.create(conn, cat.id, "ci")
        session_key, _ = sessions.create(conn, cat.id)
        users.set_password(conn, cat.id, "other")
    assert tokens.verify(storage.database, login_key) is None
    assert tokens.verify(storage.database, access) is not None
    with storage.database.read() as conn:
        assert sessions.find(conn, session_key) is None
    assert users.authenticate(storage.database, "Cat", "other", "::1").id == cat.id


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a\x00", "x" * 151])
def test_odd_names_are_refused(storage: Storage, name: str) -> None:
    with pytest.raises(InvalidInput), storage.database.write() as conn:
        users.create(conn, name, None)


def test_a_name_is_taken_in_any_case(storage: Storage) -> None:
    with pytest.raises(Conflict), storage.database.write() as conn:
        users.create(conn, "ANN", None)


def test_the_local_admin_is_made_once(storage: Storage) -> None:
    with storage.database.write() as conn:
        first = users.ensure_local_admin(conn, "local")
        assert users.ensure_local_admin(conn, "local") == first
    assert first.is_admin


def test_tokens_are_found_by_their_secret_until_they_expire_or_are_revoked(storage: Storage, cat: User) -> None:
    with storage.database.write() as conn:
        token, secret = tokens.create(conn, cat.id, "ci", read_only=True, expiry_date=now() + timedelta(hours=1))
    found = tokens.verify(storage.database, secret)
    assert found is not None
    assert (found[0].id, found[1].id, found[1].read_only, found[1].name) == (cat.id, token.id, True, "ci")
    assert tokens.verify(storage.database, secret + "x") is None
    with storage.database.write() as conn:
        assert tokens.get(conn, cat, token.id).last_used_date is not None
        tokens.change(conn, cat, token.id, expiry_date=now() - timedelta(seconds=1))
    assert tokens.verify(storage.database, secret) is None
    with storage.database.write() as conn:
        tokens.change(conn, cat, token.id, expiry_date=None, name="new")
        assert [t.name for t in tokens.list_page(conn, cat, ListQuery()).items] == ["new"]
    assert tokens.verify(storage.database, secret) is not None
    with storage.database.write() as conn:
        tokens.revoke(conn, cat, token.id)
    assert tokens.verify(storage.database, secret) is None


def test_a_token_is_good_while_the_store_cannot_be_written(
    storage: Storage, cat: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    with storage.database.write() as conn:
        _, secret = tokens.create(conn, cat.id)

    def refuse() -> None:
        raise NoSpace("full")

    monkeypatch.setattr(storage.database, "write", refuse)
    assert tokens.verify(storage.database, secret) is not None


def test_a_token_of_somebody_else_is_not_there(storage: Storage, cat: User, ann: User) -> None:
    with storage.database.write() as conn:
        token, _ = tokens.create(conn, cat.id, "ci")
        for call in (tokens.get, tokens.change, tokens.revoke):
            with pytest.raises(NotFound):
                call(conn, ann, token.id)


def test_a_login_key_ends_by_its_secret(storage: Storage, cat: User) -> None:
    with storage.database.write() as conn:
        _, secret = tokens.create(conn, cat.id, kind="login")
        assert len(secret) == 40
        assert secret.isalnum()
        tokens.revoke_secret(conn, secret)
    assert tokens.verify(storage.database, secret) is None


def test_sessions_live_for_their_time(storage: Storage, cat: User) -> None:
    with storage.database.write() as conn:
        session_key, csrf_token = sessions.create(conn, cat.id, ttl_seconds=100)
        found = sessions.find(conn, session_key)
        assert found is not None
        assert (found.user.id, found.csrf_token) == (cat.id, csrf_token)
        assert sessions.find(conn, csrf_token) is None
        dead, _ = sessions.create(conn, cat.id, ttl_seconds=-1)
        assert sessions.find(conn, dead) is None
        sessions.delete(conn, session_key)
        assert sessions.find(conn, session_key) is None


def test_no_secret_is_stored(storage: Storage, cat: User) -> None:
    with storage.database.write() as conn:
        secrets = [tokens.create(conn, cat.id)[1], sessions.create(conn, cat.id)[0], "secret"]
        stored = [
            str(value) for table in metadata.sorted_tables for row in conn.execute(sa.select(table)) for value in row
        ]
        assert conn.execute(sa.select(sa.func.count()).select_from(session_table)).scalar_one() == 1
        assert conn.execute(sa.select(sa.func.count()).select_from(token_table)).scalar_one() == 1
    assert not [value for value in stored if value in secrets]
