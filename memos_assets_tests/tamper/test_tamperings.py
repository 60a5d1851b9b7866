"""The list of tamperings is whole, and its statements, judge and table do what they say.

`make tamper` makes all of them on a consolidated demo, which takes minutes; that a check turns red
for each kind is tested beside the checks.
"""

from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.checklist import CHECKLIST
from memos_assets.postgres.connection import driver_of
from memos_assets.settings import Settings
from memos_assets_tests.consolidate import builders as b
from tamper.command import EVERY
from tamper.judge import Outcome, completed, red
from tamper.shape import TABLES
from tamper.table import sheet_of
from tamper.tampering import Tampering


def test_each_tampering_names_checks_that_there_are_or_why_it_is_harmless() -> None:
    assert len(EVERY) >= 60
    assert len({tampering.what for tampering in EVERY}) == len(EVERY)
    labels = {check.label for check in CHECKLIST}
    for tampering in EVERY:
        assert bool(tampering.red) != bool(tampering.why), tampering.what
        assert {label for label in tampering.red if label.startswith("V")} <= labels
        assert tampering.table in {spec.name for spec in MEMOS.tables}
        assert tampering.sql or tampering.pin


@pytest.mark.parametrize("tampering", TABLES, ids=lambda one: one.what)
def test_postgresql_takes_the_statements_on_tables(
    shared_engine: sa.Engine, tampering: Tampering
) -> None:
    with shared_engine.connect() as conn, conn.begin() as transaction:
        driver_of(conn).execute(completed(tampering.sql).encode())
        transaction.rollback()


def test_the_judge_sees_what_is_red_and_the_table_says_so(
    engine: sa.Engine, settings: Settings, tmp_path: Path
) -> None:
    file = b.write_kind(tmp_path / "data", "meta_buffer", templates=[b.template(1), b.template(2)])
    b.consolidate(engine, file)
    before = red(engine, settings, "thought_templates")
    assert before.keys().isdisjoint({"V01", "V02", "V14", "V26", "V27"})
    gone = Tampering("a row | less", "delete from memos.thought_templates", ("V01",))
    harmless = Tampering("words", "select 1", why="they are for people")
    unseen = Tampering("nothing", "select 1", ("V02",))
    b.execute(engine, gone.sql)
    noticed = red(engine, settings, "thought_templates")
    assert {"V01", "V02", "V27"} <= noticed.keys() - before.keys()
    outcomes = [Outcome(gone, noticed), Outcome(harmless, {}), Outcome(unseen, {})]
    assert [outcome.is_seen for outcome in outcomes] == [True, True, False]
    table = sheet_of(outcomes).markdown()
    assert "3 tamperings: 1 of 2 that matter are seen" in table
    assert "missing: distilled_1 (rowid 1)" in table
    assert "NOT SEEN" in table
    assert "they are for people" in table
