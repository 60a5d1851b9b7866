"""V28 and V29: values pass the connection unchanged, and nobody can redirect what we call."""

from collections.abc import Iterator

import sqlalchemy as sa

from memos_assets.catalog import Catalog
from memos_assets.check import AnyCheck, Check, Subject, by_connection
from memos_assets.finding import Finding
from memos_assets.postgres import schemas
from memos_assets.postgres.connection import driver_of
from memos_assets.postgres.shape.scratch import scratch
from memos_assets.proof.channel.sentinels import SENTINELS, differences

#: Schemas of a path that a function or an operator may be put into, and who may.
_WRITABLE = sa.text(
    """
    select n.nspname, r.rolname
    from pg_catalog.pg_namespace n, lateral (
        select distinct a.grantee from pg_catalog.aclexplode(n.nspacl) a
        where a.privilege_type = 'CREATE'
    ) granted left join pg_catalog.pg_roles r on r.oid = granted.grantee
    where n.nspname = any(:schemas) and granted.grantee <> n.nspowner
        and r.rolsuper is not true and (r.rolname <> current_user or r.rolname is null)
        and pg_catalog.pg_has_role(n.nspowner, 'usage')
    order by 1, 2
    """
)


def channel_keeps_values(conn: sa.Connection, _: None = None) -> Finding:
    """V28: what one end of the connection writes is what the other end reads, of every type."""
    with scratch(conn):
        faults = differences(driver_of(conn))
    values = sum(len(one.values) for one in SENTINELS)
    return Finding(
        not faults,
        expected=f"{values} values of {len(SENTINELS)} types, the same on both ends",
        observed="; ".join(faults[:3]) or f"{values} values, the same",
        evidence={"differences": faults, "types": [one.type for one in SENTINELS]},
    )


def public_is_ours(conn: sa.Connection, _: None = None) -> Finding:
    """V29: where our role is a superuser, no other role may create in `public`."""
    powerful = conn.execute(
        sa.text("select rolsuper from pg_catalog.pg_roles where rolname = current_user")
    ).scalar_one()
    shared = [schemas.APPLICATION.name, schemas.DATA.name, schemas.OPS.name]
    found = conn.execute(_WRITABLE, {"schemas": shared}).all() if powerful else []
    quote = conn.dialect.identifier_preparer.quote
    revokes = [
        f"revoke create on schema {quote(schema)} from {quote(role) if role else 'public'}"
        for schema, role in found
    ]
    return Finding(
        not revokes,
        expected="no other role may create in our schemas",
        observed="; ".join(f"{role or 'every role'} may in {schema}" for schema, role in found)
        or ("none may" if powerful else "none of our commands runs as a superuser"),
        evidence={"revoke": revokes, "grants": len(revokes)},
    )


def _live(catalog: Catalog) -> Iterator[Subject[None]]:
    yield Subject(catalog.names.live_version, None, "version_checks")


CHECKS: tuple[AnyCheck, ...] = (
    Check(
        number=28,
        name="v28_channel_keeps_values",
        title="A value of every type passes the connection unchanged, both ways.",
        fix="connect to PostgreSQL directly, with nothing in between that converts text; then run "
        "memos-assets verify again",
        where="the live version",
        reads="values at the edges of every type, as parameters, as results and by COPY: what "
        "PostgreSQL received, in hexadecimal digits, and what it makes of ASCII, against their "
        "bytes",
        when_failed="Text, numbers, moments or embeddings change between this program and "
        "PostgreSQL, and a proof through such a connection proves nothing. Connect to PostgreSQL "
        "directly and run `memos-assets verify` again; rows that were loaded through it are "
        "found by V02.",
        subjects=_live,
        judge=by_connection(channel_keeps_values),
        blocking=True,
    ),
    Check(
        number=29,
        name="v29_public_is_ours",
        title="Where our role is a superuser, no other role may create in public or our schemas.",
        fix="revoke the right that the evidence names: revoke create on schema public from ROLE",
        where="the live version",
        reads="rights to create in `public`, `memos` and `memos_ops`, of roles other than the "
        "owner and superusers",
        when_failed="A role that may create there can put a function or an operator in place of "
        "PostgreSQL's, and another client's statements would call it with that client's rights. "
        "Our own connections and functions do not look there. Run the `revoke` of the evidence.",
        subjects=_live,
        judge=by_connection(public_is_ours),
        severity="warning",
        left_to_do="grants",
    ),
)
