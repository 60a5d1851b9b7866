"""Functions of the database are whole templates, and the database holds what they show."""

import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.search.function_sources import TEMPLATES, Function, functions
from memos_assets.search.functions import functions_are_ours, install, vector_schema

#: Functions of the schema, by name.
INSTALLED = sa.text(
    "select proname, prosrc, coalesce(proconfig, '{}') from pg_proc p "
    "join pg_namespace n on n.oid = p.pronamespace where n.nspname = 'memos'"
)


@pytest.fixture(scope="module")
def made() -> list[Function]:
    return functions(MEMOS.schema, MEMOS.searchable, "public")


def test_every_template_makes_functions_and_names_what_it_makes(made: list[Function]) -> None:
    templates = {path.stem for path in TEMPLATES.glob("*.sql")}
    single = {"search_query", "search_terms", "search_ranked"}
    assert templates == {"search", "match", "hybrid", *single}
    kinds = {name for name in templates for one in made if one.name.startswith(name)}
    assert kinds == templates
    assert all(f'"memos"."{one.name}"(' in one.statement for one in made)


def test_a_template_shows_a_whole_function(made: list[Function]) -> None:
    for one in made:
        assert one.statement.lstrip().startswith("create function ")
        assert one.statement.rstrip().endswith("$function$")
        for part in (one.arguments, f"returns {one.returns}", f"language {one.language}", one.body):
            assert part in one.statement


def test_postgresql_holds_the_source_and_the_settings_of_each(engine: sa.Engine) -> None:
    with engine.begin() as conn:
        install(conn, MEMOS.schema, MEMOS.searchable)
        installed = {name: (source, config) for name, source, config in conn.execute(INSTALLED)}
        for one in functions(MEMOS.schema, MEMOS.searchable, vector_schema(conn)):
            source, config = installed[one.name]
            assert source == one.body
            assert [line.partition("=")[0] for line in config] == [name for name, _ in one.settings]
        assert functions_are_ours(conn, MEMOS.schema, MEMOS.searchable).passed
        assert install(conn, MEMOS.schema, MEMOS.searchable) == []
