"""The outside systems that assets ask for by name: the target database and the webhook."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
import httpx
import sqlalchemy as sa
import tenacity
from pydantic import PrivateAttr

from memos_assets.catalog import Catalog
from memos_assets.catalog.catalog import live_schema
from memos_assets.defs.dead_runs import known_to_run, settle_abandoned_runs
from memos_assets.defs.tags import INTO_TAG
from memos_assets.postgres.engine import shown
from memos_assets.postgres.schema.tables import in_schema
from memos_assets.postgres.target import open_target
from memos_assets.postgres.versions.versions import require_shadow
from memos_assets.settings import Settings, load_settings

#: Raised where an alert was not taken.
NOT_TAKEN = (httpx.HTTPError, httpx.InvalidURL)

# It logs every address in full, and that of the webhook is a secret.
logging.getLogger("httpx").setLevel(logging.WARNING)


class Postgres(dg.ConfigurableResource):
    """The target database. It has no field, so that no password can be shown as configuration.

    One pooled engine per process and run; where it is comes from `settings`.
    """

    _engine: sa.Engine | None = PrivateAttr(default=None)
    _settings: Settings | None = PrivateAttr(default=None)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["Postgres"]:
        """Make the engine for one process of one run and dispose of it afterwards.

        Before the first step, runs whose process is gone give back what they hold.
        """
        run = context.run.run_id if context.run else "adhoc"
        self._settings = load_settings()
        with open_target(self._settings, f"memos_assets:{run[:8]}") as engine:
            into = context.run.tags.get(INTO_TAG) if context.run else None
            if into is not None:
                require_shadow(engine, into)
                engine = in_schema(engine, live_schema(into), into)
            self._engine = engine
            if context.run is None or context.instance is None:
                yield self
                return
            with known_to_run(engine, context.instance, context.run):
                settle_abandoned_runs(context.instance, engine)
                yield self

    @property
    def engine(self) -> sa.Engine:
        """The engine; only inside a run."""
        assert self._engine is not None, "the resource is not initialised"
        return self._engine

    @property
    def settings(self) -> Settings:
        """The settings the engine was made from."""
        assert self._settings is not None, "the resource is not initialised"
        return self._settings

    def declared(self, catalog: Catalog) -> Catalog:
        """Return a catalog with the encodings that are declared in the settings."""
        return catalog.with_encodings(self.settings.declared_encodings)

    def __repr__(self) -> str:
        return f"Postgres({shown(self._engine.url) if self._engine else 'not connected'})"

    __str__ = __repr__


class Webhook(dg.ConfigurableResource):
    """Where alerts are posted. Its address is a secret and comes from `settings`."""

    @property
    def is_configured(self) -> bool:
        """Whether there is an address at all."""
        return load_settings().alert_webhook is not None

    def post(self, alert: dict[str, object]) -> None:
        """Post one alert as JSON, up to three times.

        Raises:
            One of `NOT_TAKEN`: the receiver does not take it; the alert is due again.
        """
        address = load_settings().alert_webhook
        assert address is not None, "ask is_configured first"
        url = address.get_secret_value()
        for attempt in tenacity.Retrying(
            stop=tenacity.stop_after_attempt(3),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=2),
            retry=tenacity.retry_if_exception_type(NOT_TAKEN),
            reraise=True,
        ):
            with attempt:
                response = httpx.post(url, json=alert, timeout=10, follow_redirects=True)
                response.raise_for_status()
