"""status and settings: what is there, whether it is proven, what runs, what was set."""

import json
from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets import __version__
from memos_assets.postgres.dagster_state import dagster_state
from memos_assets_tests.cli.conftest import Command
from memos_assets_tests.consolidate import builders as b
from memos_assets_tests.defs.world import write_templates


def test_status_says_rows_verdict_rejects_version_and_what_runs(
    memos_assets: Command, database: sa.Engine, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    write_templates(data / "meta_buffer.db", [1, 2])
    assert memos_assets("consolidate", "--data", str(data))[0] == 0
    code, out, err = memos_assets("status")
    assert (code, err) == (0, "")
    assert out.startswith("Proven: ")
    assert "2 rows of 1 source, " in out
    assert f"  meta_buffer (meta_buffer), 2 rows: {data / 'meta_buffer.db'}\n" in out
    assert "Version 1 is live" in out
    assert "Daemon: does not run: memos-assets ui starts it" in out
    assert "Schedules and sensors: none is started\n" in out
    assert f"memos-assets {__version__}\n" in out

    _start(database)
    code, out, _ = memos_assets("status", "--json", "-")
    content = json.loads(out)
    assert (content["proven"], content["rows"], content["open_rejects"]) == (True, 2, 0)
    assert content["dagster"]["daemon_runs"] is True
    assert content["dagster"]["schedules"] == ["check_daily"]


def _start(database: sa.Engine) -> None:
    """Write what a daemon and a started schedule write."""
    body = {"origin": {"job_name": "check_daily"}}
    with database.begin() as conn:
        conn.execute(
            sa.text(
                "insert into dagster.daemon_heartbeats (daemon_type, daemon_id, timestamp, body) "
                "values ('SCHEDULER', 'x', now() at time zone 'utc', '{}')"
            )
        )
        conn.execute(
            sa.text(
                "insert into dagster.instigators (selector_id, status, instigator_type, "
                "instigator_body) values ('s', 'RUNNING', 'SCHEDULE', :body)"
            ),
            {"body": json.dumps(body)},
        )


def test_a_database_without_dagster_has_no_state_of_it(engine: sa.Engine) -> None:
    with engine.connect() as conn:
        found = dagster_state(conn)
    assert found is None or not found.daemon_runs


def test_settings_say_what_was_set_and_mask_secrets(
    memos_assets: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert home
    monkeypatch.setenv("MEMOS_API_TOKEN", "sekret")
    monkeypatch.setenv("MEMOS_KEEP_VERSIONS_DAYS", "3")
    code, out, err = memos_assets("settings")
    assert (code, err) == (0, "")
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines() if "MEMOS_" in line}
    assert lines["MEMOS_API_TOKEN"] == ["**********", "environment"]
    assert lines["MEMOS_KEEP_VERSIONS_DAYS"] == ["3.0", "environment"]
    assert "MEMOS_API_PORT" not in lines
    assert "8765" in memos_assets("-v", "settings")[1]
    content = json.loads(memos_assets("settings", "--json", "-")[1])
    by_name = {one["variable"]: one for one in content["settings"]}
    assert by_name["MEMOS_API_PORT"]["source"] == "default"
    assert by_name["MEMOS_HOME"]["value"] == str(home)
    assert "sekret" not in json.dumps(content)


def test_a_variable_that_is_not_a_setting_is_named(
    memos_assets: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert home
    monkeypatch.setenv("MEMOS_DATABSE_URL", "x")
    monkeypatch.setenv("MEMOS_OF_ANOTHER_PROGRAM", "x")
    code, _, err = memos_assets("settings")
    assert code == 1
    assert "Note: MEMOS_DATABSE_URL is not a setting. Fix: set MEMOS_DATABASE_URL in its" in err
    assert "Note: MEMOS_OF_ANOTHER_PROGRAM is not a setting. Fix: unset it" in err
    # Any command names what is almost a setting.
    _, _, err = memos_assets("explain", "M307")
    assert err.startswith("Note: MEMOS_DATABSE_URL is not a setting.")
    assert "MEMOS_OF_ANOTHER_PROGRAM" not in err


def test_rejects_that_hang_on_others_are_said_so(
    memos_assets: Command, database: sa.Engine, tmp_path: Path
) -> None:
    path = b.write_kind(
        tmp_path / "memOS",
        "corpus",
        entities=[b.entity(1), b.entity(2, description="ocr\0 artefact")],
        relations=[b.relation(1, 1, 2), b.relation(2, 1, "gone")],
    )
    b.consolidate(database, path)
    code, out, _ = memos_assets("rejects", "list")
    assert code == 0
    assert (
        "1 of 2 open rows of corpus_relations in fanuc_robotics hang on rows rejected in "
        "corpus_entities: settle these first.\n" in out
    )
    groups = json.loads(memos_assets("rejects", "list", "--json", "-")[1])
    assert {group["reason"]: group["hang_on"] for group in groups} == {
        "nul_character": {},
        "dangling_end": {"corpus_entities": 1},
    }


def test_a_red_v02_names_row_column_and_both_values(
    memos_assets: Command, database: sa.Engine, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    write_templates(data / "meta_buffer.db", [1, 2, 3, 4, 5])
    place = ("--data", str(data))
    assert memos_assets("consolidate", *place)[0] == 0
    with database.begin() as conn:
        conn.exec_driver_sql("update memos.thought_templates set query_pattern = 'other'")
    code, out, _ = memos_assets("verify")
    assert code == 1
    assert "V02 FAILED" in out
    named = [line.strip() for line in out.splitlines() if "meta_buffer: differs: " in line]
    assert len(named) == 3
    assert all(" query_pattern: " in line and "'other'" in line for line in named)
    assert "and 2 more" in out

    content = json.loads(memos_assets("verify", "--json", "-")[1])
    (check,) = [one for one in content["checklist"] if one["check"] == "V02"]
    (failed,) = check["failed"]
    assert (len(failed["faults"]), failed["more_faults"]) == (3, 2)
    (first, *_) = failed["differences"]
    assert (first["table"], first["source"]) == ("thought_templates", "meta_buffer")
    assert first["column"] == "query_pattern"
    assert first["in_postgresql"] == "'other'"
    page = Path(content["report"]).read_text("utf-8").replace("<wbr>", "")
    assert "and 2 more" in page
    assert "query_pattern" in page

    # Only that table of that source is loaded again.
    again = ("--reload", "--table", "memos.thought_templates", "--source", "meta_buffer")
    assert memos_assets("consolidate", *place, *again, "--chunk", "meta_buffer/000")[0] == 0
    for wrong, refusal in (
        (("--table", "thought_templates"), "M507"),
        (("--reload", "--chunk", "x"), "M507"),
        (("--reload", "--table", "none"), "M540"),
        (("--reload", "--source", "none"), "M526"),
    ):
        assert memos_assets("consolidate", *place, *wrong)[2].split()[0] == refusal
