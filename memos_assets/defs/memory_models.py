"""Embedding models of memory in Dagster: the embedder, what waits for it, the next model."""

import warnings
from collections.abc import Callable, Iterator

import dagster as dg
import sqlalchemy as sa

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
from memos_assets.memory.service.crypto import key_ring
from memos_assets.memory.service.waiting import (
    Filled,
    any_waiting,
    embed_all,
    embeds_memories,
)
from memos_assets.postgres.target import open_consolidated
from memos_assets.search.embed import (
    Embedder,
    configured_embedder,
    configured_next_embedder,
)
from memos_assets.settings import Settings, load_settings

#: Group of assets about the memory of agents.
GROUP = "memory"
#: Names of jobs, and of their schedules; those of other catalogs begin with their prefix.
EMBED, OBSERVE = "embed_waiting_memories", "observe_embedder"
EMBED_OF_MEMOS = "embed_waiting_memories_of_memos"
MAINTAIN_MODELS = "maintain_memory_models"
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
                memory = postgres.settings.maintenance_work_mem_mb
                for built in vector_indexes.build(
                    postgres.engine, model, maintenance_work_mem_mb=memory
                ):
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
        "whose next attempt is due, and embeds those of memOS's own table that have none, where a "
        "key of it is set and the embedder is of its model.",
    )
    def _embedded(
        context: dg.AssetExecutionContext, postgres: Postgres
    ) -> dg.MaterializeResult[None]:
        with reported():
            embedder = configured_embedder(postgres.settings)
            progress = embed_waiting(postgres.engine, embedder)
            of_memos = _embed_of_memos(postgres, embedder)
            with postgres.engine.connect() as conn:
                left = waiting(conn)
        for stopped in filter(None, (progress.stopped, of_memos.stopped)):
            context.log.warning(stopped)
        return dg.MaterializeResult(
            metadata={
                "embedded": progress.embedded,
                "links": progress.linked,
                "waiting": left.count,
                "reasons": dg.MetadataValue.json(dict(left.reasons)),
                "embedded in public.memories": of_memos.embedded,
            }
        )

    return _embedded


def _embed_of_memos(postgres: Postgres, embedder: Embedder) -> Filled:
    """Embed rows of memOS's own table that wait, where it is there and a key is set."""
    if not _of_memos_waits(postgres.settings, postgres.engine, embedder):
        return Filled()
    return embed_all(postgres.engine, key_ring(postgres.settings), embedder)


def _of_memos_waits(settings: Settings, engine: sa.Engine, embedder: Embedder) -> bool:
    has_key = settings.encryption_key is not None or settings.memory_keys is not None
    return has_key and embeds_memories(embedder) and any_waiting(engine)


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
            names.job(OBSERVE),
            selection=dg.AssetSelection.assets(_key(names, "embedder")),
            description="Ask the embedder the three fixed texts: is it the model that it was?",
        ),
        dg.define_asset_job(
            names.job(MAINTAIN_MODELS),
            selection=dg.AssetSelection.assets(_key(names, "models")),
            description="Register the first model, index large spaces, check both.",
        ),
    ]


def memory_model_schedules(names: AssetNames) -> list[dg.ScheduleDefinition]:
    """Return the schedules; they skip where no embedder is set."""
    return [
        _schedule(
            names,
            EMBED,
            "* * * * *",
            "Embeds memories that wait, where one is due.",
            only_if=_any_due,
        ),
        # Not each minute: rows that no key decrypts, or that the model refuses, wait for good.
        _schedule(
            names,
            EMBED,
            "*/10 * * * *",
            "Embeds rows of memOS's own table that wait.",
            name=EMBED_OF_MEMOS,
            only_if=_any_of_memos,
        ),
        _schedule(names, OBSERVE, "20 * * * *", "Asks whether the embedder is the model it was."),
        _schedule(names, MAINTAIN_MODELS, "40 5 * * *", "Indexes spaces that became large."),
    ]


def _schedule(
    names: AssetNames,
    job: str,
    cron: str,
    description: str,
    *,
    name: str | None = None,
    only_if: Callable[[Settings], bool] = lambda _: True,
) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=names.job(name or job),
        cron_schedule=cron,
        job_name=names.job(job),
        description=description,
    )
    def _tick() -> Iterator[dg.RunRequest | dg.SkipReason]:
        with reported():
            settings = load_settings()
            if settings.embedder is None:
                yield dg.SkipReason("MEMOS_EMBEDDER is not set")
            elif only_if(settings):
                yield dg.RunRequest()
            else:
                yield dg.SkipReason("nothing is due")

    return _tick


def _any_due(settings: Settings) -> bool:
    with open_consolidated(settings, "memos_assets:schedule") as engine:
        return any_due(engine)


def _any_of_memos(settings: Settings) -> bool:
    with open_consolidated(settings, "memos_assets:schedule") as engine:
        return _of_memos_waits(settings, engine, configured_embedder(settings))
