"""Which rows services see and write, table by table: the description of row-level security.

One description of each table that has an owner, from which its policies, the rights of the
services' role and the check V34 are derived. A row of schema `agent` belongs to a space, a row of
memOS's own tables to a user. The user is ``app.current_user_id``, which ends with the transaction;
without a user nothing is visible. ``memos.spaces``, where it is set, restricts the user to the
spaces that it names.

Policies compare with operators that are LEAKPROOF, so that indexes are used under them, and ask
for the user's spaces once per statement. The owner of a table sees every row, because memOS itself
and the commands of operators go on as before; docs/decisions/015 says why.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import sqlalchemy as sa

from memos_assets.catalog import MEMOS, Table
from memos_assets.catalog.application import APPLICATION_SCHEMA
from memos_assets.postgres.schema import agent, agent_board, agent_cache, agent_tokens

Command = Literal["all", "select", "insert", "update", "delete"]

#: Begins the names of our policies.
PREFIX: Final = "memos_"
OWNERS_POLICY: Final = f"{PREFIX}owner"

#: memOS's own name of it.
USER_SETTING: Final = "app.current_user_id"
#: The agent that acts for the user; boards show it what it keeps for itself.
AGENT_SETTING: Final = "memos.agent_id"
#: Ids of spaces as an array, such as ``{1,7}``.
SPACES_SETTING: Final = "memos.spaces"
_USER: Final = f"nullif(pg_catalog.current_setting('{USER_SETTING}', true), '')"
#: The spaces to which a transaction restricts itself, such as ``{1,7}``; unset: all of them.
_NAMED: Final = (
    "coalesce(g.space_id = any(nullif(pg_catalog.current_setting("
    f"'{SPACES_SETTING}', true), '')::bigint[]), true)"
)


def _spaces_function(name: str, further: str = "") -> str:
    return f"""create function {agent.AGENT_SCHEMA}.{name}() returns bigint[]
language sql stable parallel safe
set search_path = pg_catalog
as $function$
    select coalesce(array_agg(g.space_id), '{{}}')
    from {agent.AGENT_SCHEMA}.grants g
    where g.user_id = {_USER}
        and {_NAMED}{further}
$function$"""


#: Name -> statement of the functions that policies call. They run with the caller's rights.
FUNCTIONS: Final[Mapping[str, str]] = {
    "readable_spaces": _spaces_function("readable_spaces"),
    "writable_spaces": _spaces_function("writable_spaces", "\n        and g.access = 'read_write'"),
    "owned_spaces": f"""create function {agent.AGENT_SCHEMA}.owned_spaces() returns bigint[]
language sql stable parallel safe
set search_path = pg_catalog
as $function$
    select coalesce(array_agg(s.id), '{{}}')
    from {agent.AGENT_SCHEMA}.spaces s
    where s.owner = {_USER}
$function$""",
}


def _among(column: str, function: str) -> str:
    """Return a condition whose function PostgreSQL calls once per statement, and not per row."""
    return f"{column} = any((select {agent.AGENT_SCHEMA}.{function}())::bigint[])"


def _readable(column: str = "space_id") -> str:
    return _among(column, "readable_spaces")


def _writable(column: str = "space_id") -> str:
    return _among(column, "writable_spaces")


@dataclass(frozen=True, slots=True)
class Policy:
    """A permissive policy of the services' role.

    Attributes:
        command: whose rows it is about.
        using: condition of rows that are seen, changed or deleted; None for ``insert``.
        check: condition of rows as they are written; None for ``select`` and ``delete``.
    """

    command: Command
    using: str | None = None
    check: str | None = None

    @property
    def name(self) -> str:
        """Its name; a table has one policy of ours per command."""
        return f"{PREFIX}agent_{self.command}"


def _policies(read: str, write: str, *, insert: str | None = None) -> tuple[Policy, ...]:
    return (
        Policy("select", using=read),
        Policy("insert", check=insert or write),
        Policy("update", using=write, check=write),
        Policy("delete", using=write),
    )


_BY_SPACE = _policies(_readable(), _writable())
#: A link joins two spaces: who sees it sees both of its ends.
_BOTH_READABLE = f"{_readable('a_space_id')} and {_readable('b_space_id')}"
_EITHER_WRITABLE = f"({_writable('a_space_id')} or {_writable('b_space_id')})"
_MINE = f"owner = {_USER}"
_GRANTED = (
    f"id = any((select array(select g.space_id from {agent.AGENT_SCHEMA}.grants g "
    f"where g.user_id = {_USER}))::bigint[])"
)
_OWNED = _among("space_id", "owned_spaces")
_SEES_SOURCE = f"exists (select from {agent.AGENT_SCHEMA}.memories m where m.number = derived_from)"
_NAMED_TOKEN = (
    "token_digest = (select pg_catalog.decode(nullif(pg_catalog.current_setting("
    f"'{agent_tokens.TOKEN_SETTING}', true), ''), 'hex'))"
)
_BY_USER = (Policy("all", using=f"user_id = {_USER}", check=f"user_id = {_USER}"),)
#: Rows without a user are of all users of a tenant, which the key names.
#: The user is asked for once per statement: a search by meaning compares a thousand rows.
_MINE_OR_SHARED = f"(user_id is null or user_id = (select {_USER}))"
_OF_CACHE = (Policy("all", using=_MINE_OR_SHARED, check=_MINE_OR_SHARED),)
#: What an agent keeps for itself on a board: of this user and this agent alone.
_OF_AGENT = (
    f"{_readable()} and user_id = {_USER} and agent_id = "
    f"coalesce(pg_catalog.current_setting('{AGENT_SETTING}', true), '')"
)
#: A row of a board that names its writer names the user of the transaction.
_WRITES_AS_HIMSELF = f"{_writable()} and user_id = {_USER}"
_CACHE = {
    table.name: _OF_CACHE
    for table in agent.metadata.tables.values()
    if table.name.startswith(agent_cache.PREFIX) and "user_id" in table.c
}

#: Tables of schema `agent` whose policies are not those of a table with ``space_id``.
_SPECIAL: Final[Mapping[str, tuple[Policy, ...]]] = {
    # Not restricted to the named spaces: `act_as` looks spaces up by name first.
    "spaces": _policies(f"{_MINE} or {_GRANTED}", _MINE),
    "grants": _policies(
        f"user_id = {_USER} or granted_by = {_USER}", f"{_OWNED} and granted_by = {_USER}"
    ),
    "links": _policies(_BOTH_READABLE, f"{_BOTH_READABLE} and {_EITHER_WRITABLE}"),
    "provenance": _policies(_readable(), _writable(), insert=f"{_writable()} and {_SEES_SOURCE}"),
    # To recall is to read, and counts.
    "accesses": _policies(_readable(), _readable()),
    agent_board.boards.name: _policies(_readable(), _writable(), insert=_WRITES_AS_HIMSELF),
    agent_board.board_private.name: (Policy("all", using=_OF_AGENT, check=_OF_AGENT),),
    agent_board.board_outbox.name: _policies(_readable(), _WRITES_AS_HIMSELF),
    agent_board.board_refusals.name: _policies(_readable(), _WRITES_AS_HIMSELF),
    # Who a token is for is not known before it is read: its digest shows its row, and no other.
    "tokens": (Policy("select", using=_NAMED_TOKEN),),
    **_CACHE,
}
#: Tables of schema `agent` whose rows belong to no user -> rights of the services' role.
WITHOUT_OWNER: Final[Mapping[str, tuple[str, ...]]] = {
    "models": ("select",),
    "erasures": (),
    "cache_counts": ("select", "insert", "update"),
    "cache_thresholds": ("select",),
    "token_uses": ("select", "insert", "update"),
}
_WRITES = ("select", "insert", "update", "delete")
#: Rights that are not all of them. Beliefs are only added, and memories end instead of going.
_RIGHTS: Final[Mapping[str, tuple[str, ...]]] = {
    "memories": ("select", "insert", "update"),
    "revisions": ("select", "insert"),
    "word_counts": ("select", "insert"),
    # Events and what follows from them are written by agent.board_post, so that no number is left
    # out and nobody writes in the name of another.
    "boards": ("select", "insert"),
    "board_events": ("select",),
    "board_entries": ("select",),
    "board_outbox": ("select", "insert"),
    "board_refusals": ("select", "insert"),
    "tokens": ("select",),
}


@dataclass(frozen=True, slots=True)
class Wall:
    """What services may do with one table.

    Attributes:
        schema: of the table.
        name: of the table.
        policies: of the services' role; none: the rows belong to no user.
        rights: that the role is granted on the table; never TRUNCATE, which no policy stops.
    """

    schema: str
    name: str
    policies: tuple[Policy, ...]
    rights: tuple[str, ...]

    @property
    def qualified(self) -> str:
        """Schema and name, for people."""
        return f"{self.schema}.{self.name}"


#: Consolidated tables that every user may search. What agents remembered in memOS is not among
#: them: it becomes somebody's when it is seeded.
SHARED_CORPORA: Final[tuple[Table, ...]] = tuple(
    table for table in MEMOS.searchable if not table.live and table.name != "semantic_memories"
)


def agents_wall(name: str) -> Wall | None:
    """Return what services may do with a table of schema `agent`; None: it is not described.

    Args:
        name: of a table that `schema.agent` describes, or of one of a model's embeddings.
    """
    schema = agent.AGENT_SCHEMA
    if name in WITHOUT_OWNER:
        return Wall(schema, name, (), WITHOUT_OWNER[name])
    rights = _RIGHTS.get(name, _WRITES)
    if name in _SPECIAL:
        return Wall(schema, name, _SPECIAL[name], rights)
    described = agent.metadata.tables.get(f"{schema}.{name}")
    has_space = described is not None and "space_id" in described.c
    if has_space or (agent.is_of_embeddings(name)):
        return Wall(schema, name, _BY_SPACE, rights)
    return None


def applications_walls() -> Iterator[Wall]:
    """Yield what services may do with memOS's own tables: rows of the user, and shared lists."""
    for table in MEMOS.application_tables:
        if any(column.name == "user_id" for column in table.columns):
            yield Wall(APPLICATION_SCHEMA, table.name, _BY_USER, _WRITES)
        else:
            yield Wall(APPLICATION_SCHEMA, table.name, (), ("select",))


def corpora_walls() -> Iterator[Wall]:
    """Yield what services may do with consolidated tables: search those that are shared."""
    for table in SHARED_CORPORA:
        yield Wall(table.schema, table.name, (), ("select",))


_TABLES = sa.text(
    "select n.nspname, c.relname from pg_catalog.pg_class c "
    "join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
    "where n.nspname = any(:schemas) and c.relkind in ('r', 'p') order by 1, 2"
)


def walls(conn: sa.Connection) -> tuple[list[Wall], list[str]]:
    """Return what services may do with the tables that are there.

    Returns:
        A wall for each table of schema `agent`, of memOS, and of the shared corpora; names of
        tables of schema `agent` that no description names.
    """
    described = {wall.qualified: wall for wall in (*applications_walls(), *corpora_walls())}
    found: list[Wall] = []
    unknown: list[str] = []
    schemas = [agent.AGENT_SCHEMA, APPLICATION_SCHEMA, MEMOS.schema]
    for schema, name in conn.execute(_TABLES, {"schemas": schemas}):
        qualified = f"{schema}.{name}"
        wall = agents_wall(name) if schema == agent.AGENT_SCHEMA else described.get(qualified)
        if wall is not None:
            found.append(wall)
        elif schema == agent.AGENT_SCHEMA:
            unknown.append(name)
    return found, unknown
