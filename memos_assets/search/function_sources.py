"""The source of the SQL functions for search, made from the statements that checks explain.

For each table that search offers: ``search_<table>`` by an embedding, ``match_<table>`` by words
and codes, ``hybrid_<table>`` by both. They choose the index of the embedding's dimension, set what
a search needs for the call alone, and refuse what cannot be searched for.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from psycopg import sql

from memos_assets.catalog import Table
from memos_assets.search.queries import (
    PLENTY,
    SEARCH_SETTINGS,
    columns,
    key_of_hit,
    narrowed,
    nearest,
    placed,
    text_and_metadata,
)
from memos_assets.search.searchable import MOST_HITS
from memos_assets.search.text_queries import fused, matching

_QUERY = r"""
declare
    sought tsquery;
    rest text := pg_catalog.left(query, 10000);
    found text[];
    part tsquery;
begin
    for found in select f from pg_catalog.regexp_matches(
        rest, '(?:^|[^A-Za-z0-9_.])(-?)([A-Za-z0-9]+(?:[-_.][A-Za-z0-9]+)+)', 'g') as f
    loop
        continue when found[2] !~ '[0-9]' or pg_catalog.length(found[2]) > 100;
        rest := pg_catalog.replace(rest, found[1] || found[2], ' ');
        part := ('''' || pg_catalog.lower(found[2] collate "C") || ''''
            || case when strict then '' else ':*' end)::tsquery;
        if found[1] = '-' then
            part := !! part;
        end if;
        sought := case when sought is null then part
            when strict or found[1] = '-' then sought && part else sought || part end;
    end loop;
    if strict then
        part := pg_catalog.websearch_to_tsquery('pg_catalog.english', rest);
        return case when sought is null then part
            when pg_catalog.numnode(part) = 0 then sought else sought && part end;
    end if;
    select pg_catalog.string_agg('''' || pg_catalog.replace(
            pg_catalog.replace(lexeme, '\', '\\'), '''', '''''') || '''', ' | ')::tsquery
        into part
        from pg_catalog.unnest(pg_catalog.to_tsvector('pg_catalog.english', rest));
    return coalesce(case when sought is null or part is null then coalesce(sought, part)
        else sought || part end, ''::tsquery);
end
"""

_TERMS = """
    select coalesce(pg_catalog.jsonb_object_agg(term, 1), '{}') from (
        select distinct pg_catalog.lower(found[1]) as term
        from pg_catalog.regexp_matches(pg_catalog.left(query, 10000), '\\w{3,}', 'g') as found
    ) terms
"""


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
        schema: that it is in.
    """

    name: str
    arguments: str
    returns: str
    language: str
    body: str
    settings: tuple[tuple[str, str], ...] = ()
    schema: str = field(default="", repr=False)

    @property
    def digest(self) -> str:
        """Changes when anything of it does."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]

    def create(self) -> sql.Composed:
        """Return the statement that makes it."""
        settings = [
            sql.SQL(" set {} = {}").format(
                sql.Identifier(*name.split(".")),
                sql.SQL(value) if name == "search_path" else sql.Literal(value),
            )
            for name, value in self.settings
        ]
        return sql.SQL(
            "create function {name}({arguments}) returns {returns} language {language}{settings} "
            "as {body}"
        ).format(
            name=sql.Identifier(self.schema, self.name),
            arguments=sql.SQL(self.arguments),
            returns=sql.SQL(self.returns),
            language=sql.SQL(self.language),
            settings=sql.Composed(settings),
            body=sql.Literal(self.body),
        )


def functions(schema: str, tables: Iterable[Table], vector_schema: str) -> list[Function]:
    """Return every search function that a schema holds.

    Args:
        schema: of the functions.
        tables: that are searched by them.
        vector_schema: that the extension ``vector`` is in.
    """
    path = sql.SQL("pg_catalog, {}, pg_temp").format(sql.Identifier(vector_schema)).as_string()
    found = [
        Function(
            "search_query",
            "query text, strict boolean",
            "tsquery",
            "plpgsql immutable parallel safe",
            _QUERY,
        ),
        Function("search_terms", "query text", "jsonb", "sql immutable parallel safe", _TERMS),
    ]
    settings = (("search_path", path), *SEARCH_SETTINGS.items())
    for table in tables:
        if table.vector_indexes:
            found.append(_by_embedding(table, settings))
        if table.text_index:
            found += [_by_text(table, settings), _by_both(table, settings)]
    return [replace(function, schema=schema) for function in found]


def _parameters(table: Table, *first: str) -> tuple[str, dict[str, str]]:
    """Return the arguments of a function, and for each value the variable that holds it."""
    owner = {table.owner: f"of_{table.owner}"} if table.owner else {}
    arguments = [*first, "k integer default 10"]
    arguments += [f"{variable} text default null" for variable in owner.values()]
    arguments += [f"{name}_contains jsonb default null" for name in table.filters]
    variables = {"k": "k", **owner}
    return ", ".join(arguments), variables | {n: f"{n}_contains" for n in table.filters}


def _types(table: Table, *first: str) -> str:
    key = [f"{name} {table.key_type(name)}" for name in table.key]
    more = ["text text"] if table.texts else []
    more += ["metadata jsonb"] if table.details else []
    return f"table ({', '.join([*key, *first, *more])})"


def _numbered(names: Sequence[str]) -> Callable[[str], sql.Composable]:
    return lambda name: sql.SQL(f"${names.index(name) + 1}")


def _literal(statement: sql.Composable) -> str:
    return sql.Literal(statement.as_string()).as_string()


def _with_text(table: Table, statement: sql.Composable, order: str, *shown: str) -> str:
    """Return a statement with each row's text and metadata beside it, as a literal of a body."""
    return _literal(
        sql.SQL(
            "select {shown} from ({statement}) as found join {table} as held using ({key}) "
            "order by {order}"
        ).format(
            shown=sql.SQL(", ").join(
                [
                    *key_of_hit(table, "found"),
                    *(sql.Identifier("found", name) for name in shown),
                    *text_and_metadata(table, "held"),
                ]
            ),
            statement=statement,
            table=placed(table),
            key=columns(table.key),
            order=sql.SQL(order) + sql.SQL(", ") + columns(table.key, "found"),
        )
    )


def _refuse(condition: str, message: str, *values: str) -> str:
    more = "".join(f", {value}" for value in values)
    text = sql.Literal(message).as_string()
    return (
        f"    if {condition} then\n"
        f"        raise exception using errcode = 'invalid_parameter_value',\n"
        f"            message = format({text}{more});\n"
        f"    end if;\n"
    )


def _refuse_k(name: str) -> str:
    return _refuse(
        f"k is null or k < 1 or k > {MOST_HITS}",
        f"M573 {name}: k is %s. Fix: ask for 1 to {MOST_HITS} rows",
        "coalesce(k::text, 'NULL')",
    )


def _refuse_embedding(name: str, variable: str) -> str:
    return _refuse(
        f"{variable} <#> {variable} = 0",
        f"M572 {name}: the embedding is all zeros, which is near to nothing. "
        "Fix: embed the query again; memOS stores zeros when that failed",
    )


def _of_dimension(
    table: Table, variable: str, statement: Callable[[int], str], indent: str = "    "
) -> str:
    """Return the choice of the statement that serves the dimension of ``variable``."""
    lines = [f"{indent}case vector_dims({variable})\n"]
    lines += [
        f"{indent}when {dimension} then {statement(dimension)}" for dimension in table.dimensions
    ]
    known = ", ".join(f"{dimension:,}" for dimension in table.dimensions)
    refusal = _refuse(
        "true",
        f"M571 {table.name}: a query of %s elements; its embeddings have {known}. "
        "Fix: embed the query with a model that the table''s embeddings are of".replace("''", "'"),
        f"vector_dims({variable})",
    )
    return "".join([*lines, f"{indent}else\n{refusal}", f"{indent}end case;\n"])


def _is_filtered(table: Table, variables: dict[str, str]) -> str:
    return " or ".join(f"{variables[name]} is not null" for name in table.narrowing) or "false"


def _by_embedding(table: Table, settings: tuple[tuple[str, str], ...]) -> Function:
    arguments, variables = _parameters(table, f"query {table.stored}")
    names = ("probe", "k", *table.narrowing)
    variables["probe"] = "query"
    using = ", ".join(variables[name] for name in names)
    bind = _numbered(names)

    def statement(dimension: int) -> str:
        index = table.index_for(dimension)
        plain, narrow = (
            _literal(nearest(table, index, filtered=filtered, hits=True, bind=bind))
            for filtered in (False, True)
        )
        return (
            f"\n        statement := case when {_is_filtered(table, variables)} then\n"
            f"            {narrow}\n        else\n            {plain}\n        end;\n"
        )

    body = (
        "\ndeclare\n    statement text;\nbegin\n"
        + _refuse_k(f"search_{table.name}")
        + _refuse("query is null", f"M572 search_{table.name}: no embedding. Fix: pass one")
        + _of_dimension(table, "query", statement)
        + _refuse_embedding(f"search_{table.name}", "query")
        + f"    if k > {PLENTY} then\n"
        f"        perform set_config('hnsw.ef_search', least(k * 2, {MOST_HITS})::text, true);\n"
        "    end if;\n"
        f"    return query execute statement using {using};\nend\n"
    )
    returns = _types(table, "distance double precision")
    return Function(f"search_{table.name}", arguments, returns, "plpgsql", body, settings)


def _words_of(table: Table, name: str, variables: dict[str, str]) -> str:
    """Return what finds the words to search for: all of them, or any where no row has all."""
    narrow = narrowed(table, lambda n: sql.SQL(variables[n]), "held").as_string()
    condition = f" and {table.condition}" if table.condition else ""
    relation, schema = placed(table).as_string(), table.function_schema
    return (
        _refuse("btrim(coalesce(query, '')) = ''", f"M574 {name}: an empty query. Fix: pass words")
        + f"    words := {schema}.search_query(query, true);\n"
        f"    ranking := {schema}.search_query(query, false);\n"
        f"    if numnode(words) = 0 or not exists (select from {relation} as held\n"
        f"        where held.search_text @@ words{condition}{narrow}) then\n"
        "        words := ranking;\n"
        "    end if;\n"
    )


def _by_text(table: Table, settings: tuple[tuple[str, str], ...]) -> Function:
    name = f"match_{table.name}"
    arguments, variables = _parameters(table, "query text")
    names = ("query", "ranking", "k", *table.narrowing)
    variables |= {"query": "words", "ranking": "ranking"}
    using = ", ".join(variables[n] for n in names)
    statement = _with_text(
        table, matching(table, filtered=True, bind=_numbered(names)), "found.rank desc", "rank"
    )
    body = (
        "\ndeclare\n    words tsquery;\n    ranking tsquery;\nbegin\n"
        + _refuse_k(name)
        + _words_of(table, name, variables)
        + _refuse(
            "numnode(words) = 0",
            f"M574 {name}: %L holds no word to search for. Fix: pass words that are no stop words",
            "query",
        )
        + f"    return query execute {statement}\n        using {using};\nend\n"
    )
    returns = _types(table, "rank double precision")
    return Function(name, arguments, returns, "plpgsql", body, settings)


def _by_both(table: Table, settings: tuple[tuple[str, str], ...]) -> Function:
    name = f"hybrid_{table.name}"
    first = ["query text"]
    first += [f"embedding {table.stored} default null"] if table.vector_indexes else []
    arguments, variables = _parameters(table, *first)
    names = ["query", "ranking", "k", *table.narrowing]
    variables |= {"query": "words", "ranking": "ranking"}
    sparse = ""
    if table.sparse is not None:
        arguments += ", sparse jsonb default null, vocabulary text default 'words'"
        names += ["sparse", "vocabulary"]
        variables |= {"sparse": "sparse", "vocabulary": "vocabulary"}
        sparse = (
            "    if sparse is null then\n"
            f"        sparse := {table.function_schema}.search_terms(query);\n"
            "        vocabulary := 'words';\n"
            "    end if;\n"
        )
    if table.vector_indexes:
        names.append("probe")
        variables["probe"] = "embedding"
    bind = _numbered(names)

    def statement(dimension: int | None) -> str:
        index = table.index_for(dimension) if dimension else None
        whole = fused(table, index=index, filtered=True, bind=bind)
        text = _with_text(table, whole, "found.score desc", "score", "distance")
        return f"\n        statement := {text};\n"

    choice = statement(None)
    if table.vector_indexes:
        choice = (
            f"    if embedding is null then{choice}    else\n"
            + _of_dimension(table, "embedding", statement)
            + _refuse_embedding(name, "embedding")
            + "    end if;\n"
        )
    using = ", ".join(variables[n] for n in names)
    body = (
        "\ndeclare\n    words tsquery;\n    ranking tsquery;\n    statement text;\nbegin\n"
        + _refuse_k(name)
        + _words_of(table, name, variables)
        + sparse
        + choice
        + f"    return query execute statement using {using};\nend\n"
    )
    returns = _types(table, "score double precision", "distance double precision")
    return Function(name, arguments, returns, "plpgsql", body, settings)
