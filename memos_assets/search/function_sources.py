"""The source of the SQL functions for search, made from the statements that checks explain.

For each table that search offers: ``search_<table>`` by an embedding, ``match_<table>`` by words
and codes, ``hybrid_<table>`` by both. They choose the index of the embedding's dimension, set what
a search needs for the call alone, and refuse requests that cannot be searched for. Each is a
template in sql/functions/ that shows the whole function.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from psycopg import sql

from memos_assets.catalog import Table
from memos_assets.installation import PROJECT_ROOT
from memos_assets.postgres.channel import SEARCH_PATH
from memos_assets.postgres.vector_names import VectorName, within
from memos_assets.search.bm25 import K1, idf
from memos_assets.search.queries import (
    PLENTY,
    SEARCH_SETTINGS,
    columns,
    filter_conditions,
    key_of_hit,
    nearest,
    placed,
    text_and_metadata,
)
from memos_assets.search.searchable import MOST_HITS
from memos_assets.search.text_queries import (
    ADDENDS,
    COMMON_SHARE,
    COUNTED_ROWS,
    FREQUENCIES,
    FUSION_DEPTH,
    MOST_TERMS,
    RANKS,
    SCORES,
    TermParts,
    fused,
    kth_best,
    matching,
)

TEMPLATES = PROJECT_ROOT / "sql" / "functions"

#: The table's alias in the functions of former releases, which V15 compares.
_ROWS = "held"

#: Parameters of a ranking by words, $1 and on, in the functions of all tables.
_RANKED = ("query", "ranking", "terms", "documents", "mean_words", "frequencies", "k")

#: Writes a statement as a literal of a function's body.
Literal = Callable[[sql.Composable], str]

#: The parts of a rendered template.
_STATEMENT = re.compile(
    r"create function \S+\((?P<arguments>.*)\)\nreturns (?P<returns>.*)\n"
    r"language (?P<language>.*)\n(?:set .*\n)*as \$function\$(?P<body>(?s:.*))\$function\$"
)
Settings = tuple[tuple[str, str], ...]
#: No schema in which others may create: they could put a function in place of PostgreSQL's.
_PATH: Settings = (("search_path", f"{SEARCH_PATH}, pg_temp"),)


@dataclass(frozen=True, slots=True)
class Function:
    """One SQL function.

    Attributes:
        name: without its schema.
        arguments: names, types and defaults.
        returns: a type, or ``table (...)``.
        language: and volatility, as written after ``language``.
        body: its source.
        settings: in force during a call.
        statement: makes it; the whole of the above.
    """

    name: str
    arguments: str
    returns: str
    language: str
    body: str
    settings: Settings = ()
    statement: str = field(default="", repr=False)

    @property
    def digest(self) -> str:
        """Hash of the whole function."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]


def functions(schema: str, tables: Iterable[Table], vector_schema: str) -> list[Function]:
    """Return every search function of a schema.

    Args:
        schema: of the functions.
        tables: that are searched by them.
        vector_schema: that the extension ``vector`` is in.
    """
    settings = (*_PATH, *SEARCH_SETTINGS.items())
    found = [_function(schema, name, name, {}, _PATH) for name in ("search_query", "search_terms")]
    found.append(_function(schema, "search_ranked", "search_ranked", _term_parts(), _PATH))
    for table in tables:
        found += [
            _function(schema, kind, f"{kind}_{table.name}", values, settings)
            for kind, values in _kinds(table, vector_schema)
        ]
    return found


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _function(
    schema: str, template: str, name: str, values: Mapping[str, Any], settings: Settings = ()
) -> Function:
    statement = (
        _environment()
        .get_template(f"{template}.sql")
        .render(
            function=sql.Identifier(schema, name).as_string(),
            name=name,
            schema=schema,
            settings=[
                (sql.Identifier(*setting.split(".")).as_string(), _value(setting, value))
                for setting, value in settings
            ],
            **values,
        )
    )
    parts = _STATEMENT.search(statement)
    assert parts is not None, f"{template}.sql is not a whole function"
    return Function(name, **parts.groupdict(), settings=settings, statement=statement)


def _value(setting: str, value: str) -> str:
    # The path is a list of names, which are quoted already.
    return value if setting == "search_path" else sql.Literal(value).as_string()


def _kinds(table: Table, vector_schema: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the templates of a table's functions, and their values."""

    def literal(statement: sql.Composable) -> str:
        return sql.Literal(within(statement, vector_schema).as_string()).as_string()

    def pgvector(name: str) -> str:
        return VectorName(name).within(vector_schema).as_string()

    owner = [table.owner] if table.owner else []
    arguments = [f"of_{name}" for name in owner] + [f"{name}_contains" for name in table.filters]
    variables = dict(zip(table.filter_columns, arguments, strict=True))
    shared = {
        "table": table,
        "owner": owner,
        "key_types": ", ".join(f"{name} {table.key_type(name)}" for name in table.key),
        "dimensions": ", ".join(f"{dimension:,}" for dimension in table.dimensions),
        "filter_arguments": arguments,
        "is_filtered": " or ".join(f"{name} is not null" for name in arguments) or "false",
        "most_hits": MOST_HITS,
        "plenty": PLENTY,
        "pgvector": pgvector,
    }
    if table.vector_indexes:
        yield "search", {**shared, "nearest": _nearest(table, literal)}
    if table.text_index:

        def conditions(only: Sequence[str]) -> str:
            bind = lambda name: sql.SQL(variables[name])  # noqa: E731
            return filter_conditions(table, bind, _ROWS, only=only).as_string()

        shared |= {
            "relation": placed(table).as_string(),
            "table_schema": sql.Literal(table.schema).as_string(),
            "table_name": sql.Literal(table.name).as_string(),
            "most_terms": MOST_TERMS,
            "counted_rows": COUNTED_ROWS,
            "common_share": COMMON_SHARE,
            "most_saturation": K1 + 1,
            "idf": idf(sql.SQL("greatest(documents, frequency)"), sql.SQL("frequency")).as_string(),
            "kth_best": literal(kth_best(table, bind=_numbered((*_RANKED, *table.filter_columns)))),
            "index": sql.Literal(
                sql.Identifier(table.schema, table.text_index).as_string()
            ).as_string(),
            "condition": f" and {table.condition}" if table.condition else "",
            "filters": conditions(table.filter_columns),
            "of_owner": conditions(owner),
        }
        of_match = {"depth": "k", "has_other_lists": "false"}
        of_hybrid = {
            "depth": FUSION_DEPTH,
            "has_other_lists": "embedding is not null" if table.vector_indexes else "false",
        }
        yield "match", {**shared, **of_match, "matching": literal(_matching(table))}
        yield "hybrid", {**shared, **of_hybrid, "fused": _fused(table, literal)}


def _term_parts() -> dict[str, str]:
    """Return the values of search_ranked: what a statement has of each term, as literals."""
    parts = TermParts.of(_numbered(_RANKED))
    marks = {"ranks": RANKS, "addends": ADDENDS, "frequencies": FREQUENCIES, "scores": SCORES}
    return {name: sql.Literal(value).as_string() for name, value in (asdict(parts) | marks).items()}


def _numbered(names: Sequence[str]) -> Callable[[str], sql.Composable]:
    return lambda name: sql.SQL(f"${names.index(name) + 1}")


def _nearest(table: Table, literal: Literal) -> Callable[..., str]:
    bind = _numbered(("embedding", "k", *table.filter_columns))

    def statement(dimension: int, *, filtered: bool) -> str:
        index = table.index_for(dimension)
        return literal(nearest(table, index, filtered=filtered, hits=True, bind=bind))

    return statement


def _matching(table: Table) -> sql.Composable:
    bind = _numbered((*_RANKED, *table.filter_columns))
    return _with_text(table, matching(table, filtered=True, bind=bind), "found.rank desc", "rank")


def _fused(table: Table, literal: Literal) -> Callable[[int | None], str]:
    names = [*_RANKED, *table.filter_columns, "by_rank", "whole"]
    names += ["sparse", "vocabulary"] if table.sparse is not None else []
    bind = _numbered([*names, "embedding"])

    def statement(dimension: int | None) -> str:
        index = table.index_for(dimension) if dimension else None
        whole = fused(table, index=index, filtered=True, bind=bind)
        return literal(_with_text(table, whole, "found.score desc", "score", "distance"))

    return statement


def _with_text(table: Table, statement: sql.Composable, order: str, *shown: str) -> sql.Composable:
    """Return a statement with each row's text and metadata beside it."""
    return sql.SQL(
        "select {shown} from ({statement}) as found join {table} as {rows} using ({key}) "
        "order by {order}"
    ).format(
        shown=sql.SQL(", ").join(
            [
                *key_of_hit(table, "found"),
                *(sql.Identifier("found", name) for name in shown),
                *text_and_metadata(table, _ROWS),
            ]
        ),
        statement=statement,
        rows=sql.SQL(_ROWS),
        table=placed(table),
        key=columns(table.key),
        order=sql.SQL(order) + sql.SQL(", ") + columns(table.key, "found"),
    )
