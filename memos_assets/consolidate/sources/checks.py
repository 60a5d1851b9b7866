"""V32: no two sources hold the same rows."""

from collections.abc import Iterator

import sqlalchemy as sa

from memos_assets.catalog import Catalog, FileKind
from memos_assets.check import AnyCheck, Check, CheckContext, Subject
from memos_assets.consolidate.sources import registry
from memos_assets.consolidate.sources.copies import copies_among
from memos_assets.finding import Finding
from memos_assets.postgres.schema.consolidated import table_of


def sources_hold_rows_of_their_own(context: CheckContext, kind: FileKind) -> Finding:
    """V32: compare the pinned files of a kind, and count the rows that PostgreSQL has twice."""
    with context.engine.connect() as conn:
        sources = registry.registered_sources(conn, [context.catalog.kind(kind.name)])
        # Of equals, the one that memOS itself would call so is the original.
        sources.sort(key=lambda source: (not kind.is_usual_name(source.path.name), source.name))
        names = {registry.pin_required(conn, source).path: source.name for source in sources}
        copies = []
        for path, copy in copies_among(kind, list(names)).items():
            source, other = names[path], names[copy.of]
            copies.append(
                f"{source} has the rows of {other}: {copy.rows - copy.differing:,} of "
                f"{copy.rows:,} are the same in the files, and PostgreSQL has "
                f"{_twice(conn, kind, source, other):,} keys of both"
            )
    return Finding(
        not copies,
        expected="0 sources whose rows another one holds",
        observed="; ".join(copies) or f"0 of {len(sources)}",
        evidence={"sources": len(sources), "copies": len(copies)},
    )


def _twice(conn: sa.Connection, kind: FileKind, source: str, other: str) -> int:
    """Count the keys that PostgreSQL has of both sources."""
    count = 0
    for spec in kind.tables:
        one, two = table_of(spec).alias("one"), table_of(spec).alias("two")
        same_key = [one.c[name] == two.c[name] for name in spec.key]
        statement = (
            sa.select(sa.func.count())
            .select_from(one)
            .join(two, sa.and_(*same_key))
            .where(one.c.source == source, two.c.source == other)
        )
        count += int(conn.execute(statement).scalar_one())
    return count


def _kinds(catalog: Catalog) -> Iterator[Subject[FileKind]]:
    for kind in catalog.consolidated:
        yield Subject(catalog.names.source(kind.name), kind, f"{kind.name}_rows")


CHECKS: tuple[AnyCheck, ...] = (
    Check(
        number=32,
        name="v32_sources_hold_rows_of_their_own",
        title="No two sources hold the same rows, which every search would find twice.",
        fix="keep one of the two: memos-assets forget SOURCE --with-rows",
        where="each kind of file",
        reads="keys and rows of the pinned files of a kind, and the keys that PostgreSQL has of "
        "both sources",
        when_failed="A warning, nothing is lost: one file is a copy or older state of the other. "
        "`memos-assets forget SOURCE --with-rows` takes one of them out of the database.",
        subjects=_kinds,
        judge=sources_hold_rows_of_their_own,
        severity="warning",
        left_to_do="copies",
    ),
)
