"""V34: users are walled off from each other by policies that hold for the role of services."""

import sqlalchemy as sa

from memos_assets.check import AnyCheck, Check, by_connection
from memos_assets.finding import Finding
from memos_assets.memory.check_subjects import memories_asset
from memos_assets.postgres import row_security
from memos_assets.postgres.owned_rows import walls
from memos_assets.postgres.service_role import ROLE


def users_are_walled_off(conn: sa.Connection, _asset: str) -> Finding:
    """V34: the role is bound by row-level security, which is on every table as described.

    Policies and functions are compared in PostgreSQL's own spelling with those that it makes of
    their description, on empty copies in the session's temporary schema.

    Args:
        conn: to the target database, as the owner of the tables or as a superuser.
    """
    faults = row_security.wall_faults(conn)
    found, _ = walls(conn)
    forced = [wall.qualified for wall in found if wall.policies]
    return Finding(
        not faults,
        expected=f"{ROLE} neither superuser nor BYPASSRLS, {len(forced)} tables with forced "
        "policies",
        observed="; ".join(f"{about}: {', '.join(said)}" for about, said in faults.items())
        or "all of it as described",
        evidence={
            "tables with forced policies": forced,
            "tables without an owner": [w.qualified for w in found if not w.policies],
            "faults": [f"{about}: {fault}" for about, said in faults.items() for fault in said],
        },
    )


CHECKS: tuple[AnyCheck, ...] = (
    Check(
        number=34,
        name="v34_users_are_walled_off",
        title="Users are walled off: the services' role is neither superuser nor BYPASSRLS, and "
        "every table with an owner has forced policies, exactly as described.",
        fix="run `memos-assets migrate` as the owner of the tables; undo what it names and does "
        "not change",
        where="`memos/memories`",
        reads="the role and its memberships, policies, rights and functions, as PostgreSQL has "
        "them and as it makes them of their description",
        when_failed="A user may see rows of others, or no rows at all: run `memos-assets migrate` "
        "as the owner of the tables. It creates the role where it may, and puts our policies, "
        "functions and rights back. Drop policies and views of others that it names, and revoke "
        "rights and memberships of `memos_agent` beyond the described ones.",
        subjects=memories_asset,
        judge=by_connection(users_are_walled_off),
        group="memory",
        blocking=True,
    ),
)
