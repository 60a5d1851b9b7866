"""Dagster's own storage: runs, events and schedules in schema ``dagster`` of the same database.

In dagster.yaml:

    storage:
      custom:
        module: memos_assets.postgres.dagster_storage
        class: MemosStorage
"""

import functools
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager

import sqlalchemy as sa
from dagster._config.config_schema import UserConfigSchema
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.event_log import EventLogStorage
from dagster._core.storage.runs import RunStorage
from dagster._core.storage.schedules import ScheduleStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage, PostgresEventLogStorage
from sqlalchemy.dialects import plugins
from sqlalchemy.engine.interfaces import CreateEnginePlugin

from memos_assets.postgres import advisory_locks, channel, schemas
from memos_assets.postgres.backup import back_up_foreign
from memos_assets.postgres.engine import create_engine, database_url, reachable, shown
from memos_assets.postgres.first_write import refuse_foreign_schemas
from memos_assets.settings import Settings, load_settings

SCHEMA = schemas.DAGSTER.name

#: A query of Dagster's own that takes longer is broken off: its pages show less, or try again.
STATEMENT_TIMEOUT_MS = 60_000
#: Connections of one storage beyond the one it keeps; the web server answers on many threads.
MAX_OVERFLOW = 10


class PrePing(CreateEnginePlugin):
    """Named in the URL's query: Dagster's engines set up connections, and test them before use.

    dagster-postgres makes its engines itself, without either; after a restart of the server the
    first query of each process would fail.
    """

    def update_url(self, url: sa.URL) -> sa.URL:
        """Leave the URL as it is; SQLAlchemy itself takes the plugin's name out."""
        return url

    def handle_pool_kwargs(
        self, pool_cls: type[sa.Pool], pool_args: MutableMapping[str, object]
    ) -> None:
        """Switch it on, except where every use has its own connection."""
        if not issubclass(pool_cls, sa.NullPool):
            pool_args["pre_ping"] = True

    def engine_created(self, engine: sa.Engine) -> None:
        """Set up its connections as ours, except that Dagster names its tables without a schema.

        Its statement_timeout comes with the connection.
        """
        timeouts = {name: "0" for name in channel.NO_TIMEOUTS if name != "statement_timeout"}
        settings = {**timeouts, "search_path": SCHEMA}
        channel.keep_channel(engine, channel.Channel(shown(engine.url), settings))


plugins.register("memos_pre_ping", __name__, PrePing.__name__)


class MemosStorage(DagsterStorage, ConfigurableClass):
    """dagster-postgres on the server of `memos_assets.settings`, which is started if it is ours.

    Each process keeps one connection per storage instead of opening one per event: 4.8 ms instead
    of 11 ms an event (2026-11, ten assets and a check by `dg.materialize`, 62 events, two cores).
    Testing each connection before use and synchronous commits cost nothing that could be measured.
    """

    def __init__(
        self, settings: Settings | None = None, inst_data: ConfigurableClassData | None = None
    ) -> None:
        self._inst_data = inst_data
        settings = settings or load_settings()
        url = database_url(settings)
        self._shown = shown(url)
        with _tables(url, settings):
            self._storage = DagsterPostgresStorage(_dagster_url(url))
        # Dagster asks before nearly every event and every read of an asset for tables and columns
        # that are there since they were made.
        events = self.event_log_storage
        assert isinstance(events, PostgresEventLogStorage)
        events.has_table = functools.cache(events.has_table)  # type: ignore[method-assign]
        events.has_asset_key_col = functools.cache(  # type: ignore[method-assign]
            events.has_asset_key_col
        )
        for storage in (self.run_storage, self.event_log_storage, self.schedule_storage):
            storage.optimize_for_webserver(
                statement_timeout=STATEMENT_TIMEOUT_MS,
                pool_recycle=settings.pool_recycle_seconds,
                max_overflow=MAX_OVERFLOW,
            )
        super().__init__()  # type: ignore[no-untyped-call]

    def __repr__(self) -> str:
        return f"MemosStorage({self._shown})"

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """How dagster.yaml described this storage, for the processes Dagster starts."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Nothing: everything is in `memos_assets.settings`."""
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, object]
    ) -> "MemosStorage":
        """Make the storage that dagster.yaml names; there is nothing to configure in it."""
        assert not config_value
        return cls(inst_data=inst_data)

    @property
    def event_log_storage(self) -> EventLogStorage:
        """Events, asset records, checks."""
        return self._storage.event_log_storage

    @property
    def run_storage(self) -> RunStorage:
        """Runs, backfills, heartbeats."""
        return self._storage.run_storage

    @property
    def schedule_storage(self) -> ScheduleStorage:
        """Schedules, sensors, ticks."""
        return self._storage.schedule_storage


def _dagster_url(url: sa.URL) -> str:
    """Return the URL as dagster-postgres needs it, with its password.

    Under psycopg 3, which SQLAlchemy 2.1 takes for a plain ``postgresql://``, the event storage's
    NOTIFY with a bound value is a syntax error; hence psycopg2.
    """
    added = {
        **channel.REQUEST,
        "application_name": "memos_assets:dagster",
        "plugin": "memos_pre_ping",
    }
    url = url.set(drivername="postgresql+psycopg2").update_query_dict(added)
    return url.render_as_string(hide_password=False)


@contextmanager
def _tables(url: sa.URL, settings: Settings) -> Iterator[None]:
    """Make the schema; while Dagster's tables are missing, let one process at a time make them."""
    engine = create_engine(
        url, settings, application_name="memos_assets:dagster_schema", pooled=False
    )
    with reachable(engine), engine.connect() as conn:
        made = conn.execute(sa.select(sa.func.to_regclass(f"{SCHEMA}.jobs"))).scalar_one()
        if made is None:
            refuse_foreign_schemas(conn, shown(url), [SCHEMA])
            back_up_foreign(url, settings)
            advisory_locks.DAGSTER_TABLES.wait(conn)  # until we disconnect
            conn.execute(sa.schema.CreateSchema(SCHEMA, if_not_exists=True))
        conn.commit()
        yield
