"""One row per type: names that both sides know, arrays that come with it, and refusals."""

import re
import subprocess
import sys

import pytest
from sqlalchemy.dialects import postgresql

from memos_assets.catalog import MEMOS
from memos_assets.catalog.application import ApplicationColumn
from memos_assets.catalog.columns import POSTGRES_TYPES
from memos_assets.catalog.types import TYPES, ColumnType, column_type
from memos_assets.errors import UsageError
from memos_assets.postgres.application.tables import APPLICATION
from memos_assets.postgres.copy.arrow_schema import postgres_type, table_schema

#: Every row, its arrays, and one type with a length.
SPELLINGS = (
    *TYPES,
    *(f"{name}[]" for name, row in TYPES.items() if row.oid is not None),
    *(f"{name}(7)" for name, row in TYPES.items() if row.sized),
    "varchar(7)[]",
)


def spelled(row: ColumnType) -> str:
    return row.sqlalchemy().compile(postgresql.dialect()).lower()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_type_has_one_name_on_both_sides(spelling: str) -> None:
    assert column_type(spelling).name == spelling
    assert spelled(column_type(spelling)) == spelling


@pytest.mark.parametrize(
    "spelling",
    ["", "decimal", "text(5)", "varchar(0)", "varchar()", "vector[]", "text[][]", "TEXT", "text "],
)
def test_a_type_that_there_is_not_is_refused_with_m535(spelling: str) -> None:
    said = f"M535 {spelling}: there is no such type of column. Fix: use one of text, varchar, "
    with pytest.raises(UsageError, match=f"^{re.escape(said)}"):
        column_type(spelling)


def test_a_column_of_an_application_is_of_a_type_that_there_is() -> None:
    assert ApplicationColumn("sent", "timestamp with time zone[]").postgres_type.endswith("[]")
    assert ApplicationColumn("weights", "sparsevec", 30_522).postgres_type == "sparsevec(30522)"
    with pytest.raises(UsageError, match=r"^M535 money: there is no such type"):
        ApplicationColumn("price", "money")


def test_every_kind_of_stored_value_becomes_a_type_that_there_is() -> None:
    assert [column_type(name).name for name in POSTGRES_TYPES.values()] == [
        *POSTGRES_TYPES.values()
    ]


@pytest.mark.parametrize("spec", MEMOS.application_tables, ids=lambda spec: spec.name)
def test_the_arrow_schema_names_the_types_of_a_table_of_memos(spec: object) -> None:
    table = next(one for one in MEMOS.application_tables if one is spec)
    created = {
        column.name: column.type.compile(postgresql.dialect()).lower()  # type: ignore[no-untyped-call]
        for column in APPLICATION[table.name].columns
    }
    assert {field.name: postgres_type(field) for field in table_schema(table)} == created


def test_a_catalog_is_declared_without_arrow_and_without_sqlalchemy() -> None:
    code = (
        "import sys, memos_assets.catalog\n"
        "print([name for name in ('pyarrow', 'sqlalchemy', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stderr, done.stdout) == ("", "[]\n")
