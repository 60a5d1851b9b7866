"""Embedding models of memory in Dagster: the embedder, what waits for it, the next model."""

import warnings
from collections.abc import Iterator

import dagster as dg

from memos_assets.asset_names import AssetNames
from memos_assets.defs.dagster_internals import UnresolvedAssetJobDefinition
from memos_assets.defs.failures import reported
from memos_assets.defs.keys import OWNERS
from memos_assets.defs.resources import Postgres
from memos_assets.errors import MemosAssetsError
from memos_assets.memory import model_identity, vector_indexes
from memos_assets.memory.models import (
    Model,
    check_answer,
    current_model,
    ensure_registered,
    registered,
)
from memos_assets.memory.outbox import any_due, embed_waiting, waiting
from memos_assets.memory.reembedding import BUCKETS, reembed
from memos_assets.postgres.target import open_consolidated
from memos_assets.search.embed import configured_embedder, configured_next_embedder
from memos_assets.settings import load_settings

#: Group of assets about the memory of agents.
GROUP = "memory"
#: Name of the job that embeds what waits; those of other catalogs begin with their prefix.
EMBED = "embed_waiting_memories"
#: One at a time calls the model.
EMBEDDER_POOL = "memos_embedder"
_BUCKETS = dg.StaticPartitionsDefinition([f"{bucket:02d}" for bucket in range(BUCKETS)])

Asset = dg.AssetsDefinition | dg.SourceAsset


def _key(names: AssetNames, name: str) -> dg.AssetKey:
    return dg.AssetKey.from_user_string(names.agent(name))


def memory_model_assets(names: AssetNames) -> list[Asset]:
    """Return the assets: embedder, models, outbox, re-embedding."""
    with warnings.catch_warnings():
        # As in `assets.sources`: marked beta in dagster 1.13.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return [_embedder(names), _models(names), _outbox(names), _reembedding(names)]


def _embedder(names: AssetNames) -> dg.SourceAsset:
    @dg.observable_source_asset(
        key=_key(names, "embedder"),
        group_name=names.job(GROUP),
        description="The configured embedder. Its data version is the digest of its answer to "
        "three fixed texts, so that another model makes stale what depends on it; noise of one "
        "model's weights on another machine does not.",
    )
    def _observe(postgres: Postgres) -> dg.ObserveResult:
        with reported():
            embedder = configured_embedder(postgres.settings)
            answer = model_identity.answer_of(embedder)
            with postgres.engine.connect() as conn:
                known = current_model(conn)
        digest = model_identity.digest_of(answer)
        same = known is not None and known.name == embedder.model
        if known is not None and same:
            try:
                check_answer(known, answer)
                digest = known.answer_digest
            except MemosAssetsError:
                same = False
        return dg.ObserveResult(
            data_version=dg.DataVersion(f"{embedder.model} {digest}"),
            metadata={
                "model": embedder.model,
                "dimension": int(answer.shape[1]),
                "is the current model": same,
            },
        )

    return _observe


def _models(names: AssetNames) -> dg.AssetsDefinition:
    @dg.asset(
        key=_key(names, "models"),
        deps=[_key(names, "embedder")],
        group_name=names.job(GROUP),
        kinds={"postgres"},
        owners=OWNERS,
        description="Registered embedding models with their tables. The first embedder that "
        "answers is registered; spaces that became large get an HNSW index of the current model.",
    )
    def _registered(
        context: dg.AssetExecutionContext, postgres: Postgres
    ) -> dg.MaterializeResult[None]:
        with reported():
            model = ensure_registered(postgres.engine, configured_embedder(postgres.settings))
            if model is not None:
                for built in vector_indexes.build(postgres.engine, model):
                    context.log.info(f"built {built.index.name} for {built.memories:,} memories")
            with postgres.engine.connect() as conn:
                found = registered(conn)
        return dg.MaterializeResult(
            metadata={"models": dg.MetadataValue.table([_record(model) for model in found])}
            if found
            else {"models": "none is registered"}
        )

    return _registered


def _record(model: Model) -> dg.TableRecord:
    return dg.TableRecord(
        {
            "model": model.name,
            "state": model.state,
            "dimension": model.dimension,
            "link threshold": model.link_threshold,
            "table": model.table_name,
            "answer digest": model.answer_digest,
        }
    )


def _outbox(names: AssetNames) -> dg.AssetsDefinition:
    @dg.asset(
        key=_key(names, "outbox"),
        deps=[_key(names, "embedder")],
        group_name=names.job(GROUP),
        kinds={"postgres"},
        owners=OWNERS,
        pool=EMBEDDER_POOL,
        description="Memories that wait for an embedding. Materialising embeds and links those "
        "whose next attempt is due.",
    )
    def _embedded(
        context: dg.AssetExecutionContext, postgres: Postgres
    ) -> dg.MaterializeResult[None]:
        with reported():
            progress = embed_waiting(postgres.engine, configured_embedder(postgres.settings))
            with postgres.engine.connect() as conn:
                left = waiting(conn)
        if progress.stopped is not None:
            context.log.warning(progress.stopped)
        return dg.MaterializeResult(
            metadata={
                "embedded": progress.embedded,
                "links": progress.linked,
                "waiting": left.count,
                "reasons": dg.MetadataValue.json(dict(left.reasons)),
            }
        )

    return _embedded


def _reembedding(names: AssetNames) -> dg.AssetsDefinition:
    @dg.asset(
        key=_key(names, "reembedding"),
        deps=[_key(names, "embedder")],
        group_name=names.job(GROUP),
        kinds={"postgres"},
        owners=OWNERS,
        pool=EMBEDDER_POOL,
        partitions_def=_BUCKETS,
        description="Memories embedded by the next model (MEMOS_EMBEDDER_NEXT), in 64 buckets of "
        "their numbers, beside readers. A bucket that was interrupted goes on where it was. Then: "
        "`memos-assets memory models swap`.",
    )
    def _bucket(
        context: dg.AssetExecutionContext, postgres: Postgres
    ) -> dg.MaterializeResult[None]:
        with reported():
            embedder = configured_next_embedder(postgres.settings)
            done = reembed(postgres.engine, embedder, bucket=int(context.partition_key))
        return dg.MaterializeResult(
            metadata={
                "memories": done.memories,
                "refused": done.failures.total(),
                "reasons": dg.MetadataValue.json(dict(done.failures)),
            }
        )

    return _bucket


def memory_model_jobs(names: AssetNames) -> list[UnresolvedAssetJobDefinition]:
    """Return the jobs."""
    return [
        dg.define_asset_job(
            names.job(EMBED),
            selection=dg.AssetSelection.assets(_key(names, "outbox")).without_checks(),
            description="Embed and link the memories that wait for an embedding.",
        ),
        dg.define_asset_job(
            names.job("observe_embedder"),
            selection=dg.AssetSelection.assets(_key(names, "embedder")),
            description="Ask the embedder the three fixed texts: is it the model that it was?",
        ),
        dg.define_asset_job(
            names.job("maintain_memory_models"),
            selection=dg.AssetSelection.assets(_key(names, "models")),
            description="Register the first model, index large spaces, check both.",
        ),
    ]


def memory_model_schedules(names: AssetNames) -> list[dg.ScheduleDefinition]:
    """Return the schedules."""

    @dg.schedule(
        name=names.job(EMBED),
        cron_schedule="* * * * *",
        job_name=names.job(EMBED),
        description="Embeds memories that wait, where an embedder is set and one is due.",
    )
    def _embed() -> Iterator[dg.RunRequest | dg.SkipReason]:
        with reported():
            settings = load_settings()
            if settings.embedder is None:
                yield dg.SkipReason("MEMOS_EMBEDDER is not set")
                return
            with open_consolidated(settings, "memos_assets:schedule") as engine:
                due = any_due(engine)
            if not due:
                yield dg.SkipReason("no memory is due to be embedded")
                return
        yield dg.RunRequest()

    return [_embed]
