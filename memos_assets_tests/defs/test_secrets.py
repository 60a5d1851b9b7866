"""No password is where Dagster shows, stores or sends something."""

from collections.abc import Iterator

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._serdes import serialize_value

from memos_assets.defs.io_managers import PostgresTableIOManager
from memos_assets.defs.resources import Postgres, Webhook
from memos_assets_tests.defs.world import World, location, write_templates

ROLE, PASSWORD = "memos_with_password", "s3cr-et/w@rd"
SPELLINGS = [PASSWORD, "s3cr-et", "w%40rd", "w@rd"]


@pytest.fixture
def url(world: World, database_url: sa.URL) -> Iterator[sa.URL]:
    """The test's database, as a role with a password."""
    world.execute(f"create role {ROLE} superuser login password '{PASSWORD}'")
    yield database_url.set(username=ROLE, password=PASSWORD)
    world.execute(f"reassign owned by {ROLE} to postgres")
    world.execute(f"drop owned by {ROLE}")
    world.execute(f"drop role {ROLE}")


def everything_stored(instance: dg.DagsterInstance) -> str:
    """Return all that an instance holds about its runs, as it is stored."""
    parts = []
    for run in instance.get_runs():
        parts += [serialize_value(run), repr(run), repr(run.run_config)]
        parts += [serialize_value(entry) for entry in instance.all_logs(run.run_id)]
        parts += [entry.message for entry in instance.all_logs(run.run_id)]
    assert len(parts) > 20
    return "\n".join(parts)


def test_runs_against_a_database_with_a_password_store_it_nowhere(
    world: World,
    url: sa.URL,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MEMOS_DATABASE_URL", url.render_as_string(hide_password=False))
    write_templates(world.data / "meta_buffer.db", [1])
    world.observe()
    users: list[str] = []

    @dg.asset
    def reader(postgres: Postgres) -> None:
        users.append(f"{postgres} {postgres!r} {postgres.model_dump()} {postgres.settings}")
        with postgres.engine.connect() as conn:
            users.append(str(conn.execute(sa.text("select current_user")).scalar()))

    resource = location().get_repository_def().get_top_level_resources()["postgres"]
    assert dg.materialize(
        [reader], instance=world.instance, resources={"postgres": resource}
    ).success
    assert users[1] == ROLE
    assert f"{ROLE}:***@" in users[0]
    assert world.run("migrate_meta_buffer", partition_key="meta_buffer/000").success
    # A refused chunk and a database that cannot be reached: errors quote what they can.
    world.execute("drop table memos.thought_templates")
    assert not world.run("migrate_meta_buffer", partition_key="meta_buffer/000").success
    lost = url.set(host="127.0.0.1", port=9, query={})
    monkeypatch.setenv("MEMOS_DATABASE_URL", lost.render_as_string(hide_password=False))
    assert not world.run("migrate_meta_buffer", partition_key="meta_buffer/000").success
    out, err = capfd.readouterr()
    told = "\n".join([everything_stored(world.instance), *users, out, err])
    assert f"M304 postgresql://{ROLE}:***@127.0.0.1:9/" in told
    for spelling in SPELLINGS:
        assert spelling not in told


def test_resources_have_no_field_that_could_hold_a_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MEMOS_DATABASE_URL", f"postgresql://u:{PASSWORD}@h/d")
    monkeypatch.setenv("MEMOS_ALERT_WEBHOOK", f"https://hooks.example/{PASSWORD}")
    assert set(Postgres.model_fields) == set(Webhook.model_fields) == set()
    assert set(PostgresTableIOManager.model_fields) == {"postgres"}
    resources = location().get_repository_def().get_top_level_resources()
    assert PASSWORD not in repr({name: repr(resource) for name, resource in resources.items()})
    assert set(resources) >= {"postgres", "postgres_table", "webhook"}
