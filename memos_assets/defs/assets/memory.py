"""The memory of agents as assets: its tables, its seed, its quality, its network, its sources.

Embedders, models and what waits for them are in `defs.memory_models`. Counts alone are shown: no
text of a memory, and no id of a user.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg
import sqlalchemy as sa
from pydantic import Field

from memos_assets.asset_names import AssetNames
from memos_assets.catalog import Catalog
from memos_assets.defs.checks.recording import as_evaluation
from memos_assets.defs.failures import reported
from memos_assets.defs.keys import OWNERS, Keys
from memos_assets.defs.resources import Postgres
from memos_assets.memory import quality_checks, ranking_choice
from memos_assets.memory.graph_health import graph_health
from memos_assets.memory.postings import compact_counts
from memos_assets.memory.quality import Run
from memos_assets.memory.seed import seed
from memos_assets.postgres.schema import agent
from memos_assets.report.evaluations import record
from memos_assets.report.memory import degrees_plot, quality_plot, quality_records, summaries
from memos_assets.report.render import picture
from memos_assets.session_rules.check import check_paths
from memos_assets.session_rules.rules import RULES

#: Group of assets about the memory of agents.
GROUP = "memory"
#: Asset below `memos/agent` -> the tables whose rows it counts, and what they are.
TABLES = {
    "memories": ("memories revisions accesses", "What agents remember, and each belief about it."),
    "links": ("links provenance", "Pairs of memories, and what was derived from what."),
    "words": (
        "postings word_counts",
        "The words of memories, for BM25. Counts of a space that became many are added up.",
    ),
    "spaces": ("spaces grants", "Private and shared spaces, and who may use them."),
    "proposals": ("proposals", "What consolidation of memory would do."),
    "seeds": ("seeds seed_ids", "Which sources of memOS's network were seeded."),
}


class SeedConfig(dg.Config):
    """Whose memory is seeded, and from what."""

    user: str | None = Field(
        default=None,
        description="Id of the user, whose private space gets the memories; unset: nothing is "
        "seeded, so that all assets can be materialised at once.",
    )
    source: str | None = Field(
        default=None, description="Source of `memos.semantic_memories`; unset: all of them."
    )


class RankingConfig(dg.Config):
    """What becomes of the weights that are chosen."""

    store: bool = Field(
        default=True,
        description="Store them with the model if they are better; false only shows them.",
    )


class QualityConfig(dg.Config):
    """What later runs are compared with."""

    accept: bool = Field(
        default=False,
        description="Take this run as the one that V41 compares later ones with, though it may be "
        "worse than the last good one.",
    )


def memory_assets(catalog: Catalog) -> Iterator[dg.AssetsDefinition]:
    """Yield the assets about the memory of agents."""
    for name, (tables, about) in TABLES.items():
        yield _counted(catalog.names, name, tables.split(), about)
    yield _erasures(catalog.names)
    yield _seed(catalog)
    yield _ranking(catalog.names)
    yield _quality(catalog)
    yield _graph(catalog.names)
    yield _sources(catalog.names)


def _key(names: AssetNames, name: str) -> dg.AssetKey:
    return dg.AssetKey.from_user_string(names.agent(name))


def _counted(names: AssetNames, name: str, tables: list[str], about: str) -> dg.AssetsDefinition:
    """Return an asset that counts the rows of tables that agents write."""

    @dg.asset(
        key=_key(names, name),
        group_name=names.job(GROUP),
        kinds={"postgres"},
        owners=OWNERS,
        description=f"{about} Agents write the tables at run time; this counts their rows.",
    )
    def _rows(postgres: Postgres) -> dg.MaterializeResult[None]:
        with reported(), postgres.engine.begin() as conn:
            added_up = {"added up": compact_counts(conn)} if name == "words" else {}
            shown: dict[str, int] = {table: _count(conn, table) for table in tables} | added_up
            if name == "memories":
                shown |= _states(conn)
            elif name == "links":
                shown |= _types(conn)
        return dg.MaterializeResult(metadata={"dagster/row_count": shown[tables[0]], **shown})

    return _rows


def _count(conn: sa.Connection, table: str) -> int:
    known = agent.metadata.tables[f"{agent.AGENT_SCHEMA}.{table}"]
    count: int = conn.execute(sa.select(sa.func.count()).select_from(known)).scalar_one()
    return count


def _states(conn: sa.Connection) -> dict[str, int]:
    """Return how many memories are current, superseded and wrong."""
    c = agent.memories.c
    wrong = c.retracted_at.is_not(None)
    ended = sa.and_(~wrong, sa.func.coalesce(c.valid_until <= sa.func.now(), sa.false()))
    row = conn.execute(
        sa.select(
            sa.func.count().filter(~wrong & ~ended).label("current"),
            sa.func.count().filter(ended).label("superseded"),
            sa.func.count().filter(wrong).label("wrong"),
        ).select_from(agent.memories)
    ).one()
    return row._asdict()


def _types(conn: sa.Connection) -> dict[str, int]:
    found = conn.execute(
        sa.select(agent.links.c.type, sa.func.count()).group_by(agent.links.c.type)
    )
    return {f"links of type {kind}": count for kind, count in found.all()}


def _erasures(names: AssetNames) -> dg.AssetsDefinition:
    @dg.asset(
        key=_key(names, "erasures"),
        group_name=names.job(GROUP),
        kinds={"postgres"},
        owners=OWNERS,
        description="Users who were erased by `memos-assets user erase`: how many, when last, and "
        "rows and files by place. Nothing of what they said, and no id.",
    )
    def _erased(postgres: Postgres) -> dg.MaterializeResult[None]:
        with reported(), postgres.engine.connect() as conn:
            rows = conn.execute(
                sa.select(agent.erasures.c.erased_at, agent.erasures.c.counts)
            ).all()
        places: Counter[str] = Counter()
        for row in rows:
            places.update({k: v for k, v in row.counts.items() if isinstance(v, int)})
        last = max((row.erased_at for row in rows), default=None)
        shown: dict[str, dg.MetadataValue | int | str] = {
            "dagster/row_count": len(rows),
            "erasures": len(rows),
            "last": "none so far" if last is None else f"{last:%Y-%m-%d %H:%M} UTC",
        }
        if places:
            records = [dg.TableRecord({"place": k, "rows": v}) for k, v in sorted(places.items())]
            shown["places"] = dg.MetadataValue.table(records)
        return dg.MaterializeResult(metadata=shown)

    return _erased


def _seed(catalog: Catalog) -> dg.AssetsDefinition:
    names, keys = catalog.names, Keys(catalog.names)

    @dg.asset(
        key=_key(names, "seed"),
        deps=[keys.table("semantic_memories"), keys.table("semantic_links")],
        group_name=names.job(GROUP),
        kinds={"postgres"},
        owners=OWNERS,
        description="Seed a user's private space from memOS's consolidated network, once per "
        "source and user; a second run adds what was consolidated since. Counts and digests are "
        "compared with the source before the last chunk is committed.",
    )
    def _seeded(config: SeedConfig, postgres: Postgres) -> dg.MaterializeResult[None]:
        if config.user is None:
            return dg.MaterializeResult(metadata={"sources": 0, "new": 0, "user": "none was named"})
        with reported():
            done = seed(postgres.engine, config.user, config.source)
        records = [
            dg.TableRecord({"source": one.source, "new": one.new, **one.counts}) for one in done
        ]
        return dg.MaterializeResult(
            metadata={
                "sources": len(done),
                "new": sum(one.new for one in done),
                **({"seeded": dg.MetadataValue.table(records)} if records else {}),
            }
        )

    return _seeded


def _ranking(names: AssetNames) -> dg.AssetsDefinition:
    @dg.asset(
        key=_key(names, "ranking"),
        deps=[_key(names, "memories"), _key(names, "links")],
        group_name=names.job(GROUP),
        kinds={"postgres"},
        owners=OWNERS,
        description="The weights by which a recall adds up meaning, words and what is beside a "
        "memory. The golden queries choose them, and the choice is stored with the model where it "
        "is better on questions that took no part in it.",
    )
    def _chosen(config: RankingConfig, postgres: Postgres) -> dg.MaterializeResult[None]:
        with reported():
            proposed = ranking_choice.propose(postgres.engine, postgres.settings)
            stored = config.store and ranking_choice.store(postgres.engine, proposed)
        shown: dict[str, dg.MetadataValue | int | float | str] = {
            "golden queries": proposed.golden,
            "model": proposed.model or "none is registered",
            "questions": proposed.questions,
            "stored": "yes" if stored else "no, the weights are as before",
        }
        chosen = proposed.choice
        if chosen is not None:
            shown["recall_at_10"] = round(chosen.before, 4)
            shown["recall_at_10_cross_validated"] = round(chosen.cross_validated, 4)
        before = proposed.in_force.stored()
        after = before if chosen is None else chosen.weights.stored()
        shown["weights"] = dg.MetadataValue.table(
            [
                dg.TableRecord(
                    {"list": name, "before": round(before[name], 4), "chosen": round(value, 4)}
                )
                for name, value in after.items()
            ]
        )
        return dg.MaterializeResult(metadata=shown)

    return _chosen


def _quality(catalog: Catalog) -> dg.AssetsDefinition:
    @dg.asset(
        key=_key(catalog.names, "quality"),
        deps=[_key(catalog.names, name) for name in ("memories", "links", "ranking")],
        group_name=catalog.names.job(GROUP),
        kinds={"postgres"},
        owners=OWNERS,
        description="How well the golden queries (`MEMOS_GOLDEN_QUERIES`; else those that the "
        "project ships) are answered: recall and MRR per category. They are asked in a transaction "
        "that is rolled back.",
    )
    def _measured(
        context: dg.AssetExecutionContext, config: QualityConfig, postgres: Postgres
    ) -> dg.MaterializeResult[None]:
        with reported():
            with postgres.engine.connect() as conn:
                before = quality_checks.baseline(conn, catalog)
            name, run = quality_checks.measured(postgres.engine, postgres.settings)
            if config.accept:
                _accept(context, postgres, catalog, run)
        shown: dict[str, dg.MetadataValue | int | float | str] = {
            "plot": dg.MetadataValue.md(picture(quality_plot(run, before))),
            "by category": dg.MetadataValue.table(
                [dg.TableRecord(one) for one in quality_records(run)]
            ),
            "golden queries": name,
            "model": run.model or "words alone",
        }
        for category, one in summaries(run).items():
            said = category.replace("-", "_").replace(" ", "_")
            shown[f"recall_at_10_{said}"] = round(one.recall[10], 4)
            shown[f"mrr_{said}"] = round(one.mrr, 4)
        return dg.MaterializeResult(metadata=shown)

    return _measured


def _accept(
    context: dg.AssetExecutionContext,
    postgres: Postgres,
    catalog: Catalog,
    run: Run,
) -> None:
    """Store a run as the one that V41 compares later ones with."""
    (check,) = quality_checks.CHECKS
    now = datetime.now(UTC).timestamp()
    finding = quality_checks.judged(run, None)
    asset = catalog.names.agent("quality")
    with postgres.engine.begin() as conn:
        kept = as_evaluation(context.run.run_id, now, now, check, asset, finding)
        record(conn, catalog, [kept])


def _graph(names: AssetNames) -> dg.AssetsDefinition:
    @dg.asset(
        key=_key(names, "graph_health"),
        deps=[_key(names, "links")],
        group_name=names.job(GROUP),
        kinds={"postgres"},
        owners=OWNERS,
        description="Links of memories: how many have how many, the share without any, connected "
        "groups. All users together.",
    )
    def _health(postgres: Postgres) -> dg.MaterializeResult[None]:
        with reported(), postgres.engine.connect() as conn:
            found = graph_health(conn)
        return dg.MaterializeResult(
            metadata={
                "plot": dg.MetadataValue.md(picture(degrees_plot(found))),
                "memories": found.memories,
                "share_isolated": round(found.isolated_share, 4),
                "mean_degree": round(found.mean_degree, 3),
                "highest_degree": found.highest,
                "components": found.components,
                "largest_component": found.largest,
                **{f"links_{kind}": count for kind, count in found.links.items()},
            }
        )

    return _health


def _sources(names: AssetNames) -> dg.AssetsDefinition:
    @dg.asset(
        key=dg.AssetKey.from_user_string(names.service_sources),
        group_name=names.job(GROUP),
        kinds={"python"},
        owners=OWNERS,
        description="The Python sources of services that `MEMOS_SESSIONS_PATH` names, and how many "
        "places in them break each rule about sessions.",
    )
    def _checked(postgres: Postgres) -> dg.MaterializeResult[None]:
        settings = postgres.settings
        if not settings.sessions_path:
            return dg.MaterializeResult(metadata={"sources": "MEMOS_SESSIONS_PATH is unset"})
        with reported():
            checked = check_paths(settings.sessions_path, settings.sessions_made_in)
        return dg.MaterializeResult(
            metadata={
                "files": checked.files,
                "allowed by comments": len(checked.suppressed),
                "not checked": len(checked.not_read),
                **{f"{rule}_places": count for rule, count in checked.by_rule().items()},
                "rules": dg.MetadataValue.table(
                    [
                        dg.TableRecord({"rule": one.code, "says": one.title, "why": one.why})
                        for one in RULES.values()
                    ]
                ),
            }
        )

    return _checked
