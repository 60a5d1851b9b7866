"""What belongs to a user, and what names one: the one description for tables and for files.

An export, an erasure and a snapshot without an erased user follow it. A memory belongs to the user
who remembered it, in whatever space, and so does everything in the user's private space. What hangs
on a memory goes with it. Rows of memOS's own tables belong to their ``user_id``.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from memos_assets.postgres.schema.agent import AGENT_SCHEMA

#: What a column names: a user by their id, a memory by its number, a private space by its id.
Names = Literal["user", "memory", "space"]

#: In place of an erased user's id where a row of others has to name somebody; nobody acts for it.
ERASED: Final = "erased user"
#: What ended a memory of others that was superseded by an erased one: it stays superseded.
ERASED_MEMORY: Final = "00000000-0000-0000-0000-000000000000"
#: Before the id of a user who is the source of a memory.
BY_USER: Final = "user:"


def user_digest(user: str) -> str:
    """Return how a tombstone names an erased user: sha256 of the id, 64 digits."""
    return hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()


_OF_AGENTS: Final[Mapping[str, Mapping[str, Names]]] = {
    "memories": {"number": "memory"},
    "links": {"a": "memory", "b": "memory"},
    "provenance": {"memory": "memory", "derived_from": "memory"},
    "proposals": {"memory": "memory", "other": "memory"},
    "spaces": {"owner": "user"},
    "grants": {"user_id": "user", "space_id": "space"},
    # A shared board stays with the others, and what a user posted to it stays as an empty event.
    "boards": {"space_id": "space"},
    "board_events": {"space_id": "space"},
    **{
        table: {"user_id": "user", "space_id": "space"}
        for table in ("board_entries", "board_private", "board_outbox", "board_refusals")
    },
}


def owning_columns(schema: str, table: str, columns: Collection[str]) -> Mapping[str, Names]:
    """Return the columns by any of which a row belongs to a user, and what each names.

    Args:
        schema: of the table.
        table: its name.
        columns: that it has.
    """
    if schema == AGENT_SCHEMA:
        if table in _OF_AGENTS:
            return _OF_AGENTS[table]
        if "memory" in columns:
            return {"memory": "memory"}
    if "user_id" in columns:
        return {"user_id": "user"}
    return {"space_id": "space"} if schema == AGENT_SCHEMA and "space_id" in columns else {}


@dataclass(frozen=True, slots=True)
class Mention:
    """A column in which rows of others name a user, or a memory of theirs.

    Attributes:
        table: of schema `agent`.
        column: that names.
        names: ``user``; ``memory``: by its id; ``source``: a user, after `BY_USER`.
        becomes: what stands there after an erasure; None: an heir of the space, or `ERASED`.
        beside: further columns of the row -> what they become.
    """

    table: str
    column: str
    names: Literal["user", "memory", "source"]
    becomes: str | None
    beside: Mapping[str, str | None]

    @property
    def key(self) -> str | None:
        """The column that names a memory; None: rows belong to a space alone."""
        keys = {"memories": "number", "boards": None, "board_events": None}
        return keys.get(self.table, "memory")

    @property
    def place(self) -> str:
        """How counts of an erasure call the rows."""
        by = "superseded by an erased one" if self.names == "memory" else "by an erased user"
        return f"{AGENT_SCHEMA}.{self.table} of others, {by}"


#: An heir of a space is the first user, by id, who may write it.
MENTIONS: Final = (
    Mention("memories", "superseded_by", "memory", ERASED_MEMORY, {}),
    Mention("revisions", "superseded_by", "memory", ERASED_MEMORY, {}),
    Mention("revisions", "user_id", "user", ERASED, {"agent_id": "", "reason": None}),
    Mention("proposals", "decided_by", "user", ERASED, {}),
    Mention("memories", "source", "source", BY_USER + ERASED, {}),
    Mention("boards", "user_id", "user", ERASED, {"agent_id": "", "goal": ""}),
    Mention(
        "board_events",
        "user_id",
        "user",
        ERASED,
        {"agent_id": "", "level": "", "key": "", "item": "", "value": None},
    ),
    Mention("grants", "granted_by", "user", None, {}),
    Mention("spaces", "owner", "user", None, {}),
)


def naming_columns(schema: str, table: str, columns: Collection[str]) -> dict[str, bool]:
    """Return the columns that name a user -> whether the id is behind `BY_USER`."""
    found = {
        column: False
        for column, names in owning_columns(schema, table, columns).items()
        if names == "user"
    }
    if schema != AGENT_SCHEMA:
        return found
    if table == "memories":
        found["user_id"] = False
    for mention in MENTIONS:
        if mention.table == table and mention.names != "memory":
            found[mention.column] = mention.names == "source"
    return found
