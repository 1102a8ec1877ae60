"""Keys: with one, a request shows to which project it belongs.

A key is 256 random bits, and what is stored of it is its SHA-256. A slow hash, as passwords need, would add
nothing: nobody can try out so many keys. A key is looked up by its hash, so how long that takes tells nothing of
the keys there are.
"""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select, update

from lockstitch.assistants.store import projects, rows
from lockstitch.assistants.store.prepared import Prepared
from lockstitch.assistants.store.rows import Row
from lockstitch.assistants.store.schema import keys
from lockstitch.errors import KeyNotFound
from lockstitch.starter.identifiers import new_id

PREFIX = "sk-lockstitch-"
_SHOWN = len(PREFIX) + 4

_ANY = Prepared(select(keys.c.id).limit(1))
_USABLE = Prepared(
    select(keys.c.id, keys.c.project_id, keys.c.rate_limit, keys.c.last_used_at, keys.c.operator).where(
        keys.c.secret_hash == bindparam("hash"), keys.c.revoked_at.is_(None)
    )
)
_OPERATOR = select(keys.c.id, keys.c.secret_hash).where(keys.c.operator.is_(True), keys.c.revoked_at.is_(None))
_OPERATOR_BY_HASH = Prepared(_OPERATOR.where(keys.c.secret_hash == bindparam("hash")))
_OPERATOR_BY_ID = Prepared(_OPERATOR.where(keys.c.id == bindparam("key")))
_USED = Prepared(update(keys).where(keys.c.id == bindparam("key")).values(last_used_at=bindparam("at")))


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to create; ``rate_limit`` is in requests per minute, ``None`` means without a limit."""

    project: str
    name: str = ""
    rate_limit: int | None = None
    operator: bool = False
    """Whether what concerns all projects is open to it too: the operator's page, the decoding of payloads."""


def create(connection: Connection, new: NewKey, now: int) -> tuple[Row, str]:
    """Add a key to a project that exists; returns it with its secret, which nobody can read again.

    Raises `ProjectNotFound`.
    """
    projects.get(connection, new.project)
    secret = PREFIX + secrets.token_urlsafe(32)
    values = {
        "id": new_id("key"),
        "project_id": new.project,
        "name": new.name,
        "secret_hash": hash_of(secret),
        "prefix": secret[:_SHOWN],
        "rate_limit": new.rate_limit,
        "created_at": now,
        "operator": new.operator,
    }
    return rows.add(connection, keys, values), secret


def any_exist(connection: Connection) -> bool:
    """Tell whether a key was ever created; those that were revoked count."""
    return _ANY.one(connection, {}) is not None


def find(connection: Connection, secret_hash: str) -> Row | None:
    """Return the key whose secret has this hash; ``None`` where there is none, or it was revoked."""
    return _USABLE.one(connection, {"hash": secret_hash})


def operator_with_hash(connection: Connection, secret_hash: str) -> Row | None:
    """Return the ``id`` and ``secret_hash`` of an operator's key as `find` does; ``None`` for every other key."""
    return _OPERATOR_BY_HASH.one(connection, {"hash": secret_hash})


def operator_with_id(connection: Connection, key_id: str) -> Row | None:
    """Do what `operator_with_hash` does for the key with an id."""
    return _OPERATOR_BY_ID.one(connection, {"key": key_id})


def listed(connection: Connection, project: str | None = None) -> Sequence[Row]:
    """Return all keys, oldest first; of one project only where it is given."""
    return rows.find(connection, keys, "seq", **rows.of_project(project))


def revoke(connection: Connection, key_id: str, now: int) -> Row:
    """Let the key be refused from now on, for ever; raises `KeyNotFound`."""
    revoked = rows.change(connection, keys, {"id": key_id, "revoked_at": None}, {"revoked_at": now})
    row = revoked or rows.get(connection, keys, id=key_id)
    if row is None:
        raise KeyNotFound(key_id)
    return row


def used(connection: Connection, key_id: str, now: int) -> None:
    """Take note of when the key was used last."""
    _USED.count(connection, {"key": key_id, "at": now})


def hash_of(secret: str) -> str:
    """Return what is stored of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
