"""Observations of sources in Dagster's terms: data versions, partition keys, metadata."""

from collections.abc import Iterable, Mapping

import dagster as dg
import sqlalchemy as sa

from memos_assets.asset_names import AssetNames
from memos_assets.catalog import Catalog, FileKind
from memos_assets.consolidate.loading import ledger
from memos_assets.consolidate.sources.in_place import Observation, census_of, other_files
from memos_assets.consolidate.sources.pinned import Pinned
from memos_assets.consolidate.sources.pins import Pin
from memos_assets.defs.dagster_internals import DATA_VERSION_TAG, latest_data_versions
from memos_assets.defs.keys import Keys
from memos_assets.defs.partitions import chunk_key, chunks_name


def report_observed(
    instance: dg.DagsterInstance, engine: sa.Engine, catalog: Catalog, pinned: Pinned, zone: str
) -> None:
    """Report every source asset that a consolidation concerns as observed, outside of any run.

    Args:
        instance: where it is reported; new chunks become its partition keys.
        engine: of the target database, or of the shadow that is loaded.
        catalog: whose sources they are.
        pinned: the pins, and the files beside them.
        zone: of times without an offset.
    """
    keys = Keys(catalog.names)
    for kind in catalog.kinds:
        if kind.disposition == "keep":
            _report(instance, keys.source(kind), census_of(kind, pinned.files, zone))
        else:
            # Other files of the kind may be gone by now, and are not part of this consolidation.
            versions = chunk_versions(engine, instance, catalog.names, kind, pinned.of_kind(kind))
            _report_chunks(instance, keys.source(kind), versions)
    _report(instance, keys.other_files, other_files(pinned.files))


def report_changed(
    instance: dg.DagsterInstance, names: AssetNames, kind: FileKind, versions: Mapping[str, str]
) -> None:
    """Report the chunks whose content is not the one that was observed last.

    So their tables are stale until they are loaded, and fresh afterwards. What is as it was is not
    reported again: a tick every quarter of an hour would fill the event log with it.
    """
    key = Keys(names).source(kind)
    known = latest_data_versions(instance, key, dg.DagsterEventType.ASSET_OBSERVATION)
    changed = {name: version for name, version in versions.items() if known.get(name) != version}
    _report_chunks(instance, key, changed)


def _report_chunks(
    instance: dg.DagsterInstance, key: dg.AssetKey, versions: Mapping[str, str]
) -> None:
    for partition, version in versions.items():
        instance.report_runless_asset_event(
            dg.AssetObservation(key, partition=partition, tags={DATA_VERSION_TAG: version})
        )


def _report(instance: dg.DagsterInstance, key: dg.AssetKey, observation: Observation) -> None:
    instance.report_runless_asset_event(
        dg.AssetObservation(
            key,
            metadata=_metadata(observation),
            tags={DATA_VERSION_TAG: observation.version},
        )
    )


def observed_in_place(observation: Observation) -> dg.ObserveResult:
    """Return the result of an asset that observes files in place."""
    return dg.ObserveResult(
        data_version=dg.DataVersion(observation.version), metadata=_metadata(observation)
    )


def _metadata(observation: Observation) -> dict[str, dg.MetadataValue | int]:
    metadata: dict[str, dg.MetadataValue | int] = dict(observation.totals)
    if observation.records:
        metadata["census"] = dg.MetadataValue.table(
            [
                dg.TableRecord({name: str(value) for name, value in record.items()})
                for record in observation.records
            ]
        )
    return metadata


def chunk_versions(
    engine: sa.Engine,
    instance: dg.DagsterInstance,
    names: AssetNames,
    kind: FileKind,
    pins: Iterable[Pin],
) -> Mapping[str, str]:
    """Return partition key -> data version of every chunk; new chunks become partition keys.

    Keys are never removed: an empty chunk stays known, so that its rows go when it empties.
    """
    with engine.connect() as conn:
        versions = {
            chunk_key(pin.source, chunk): pin.data_version(chunk)
            for pin in pins
            for chunk in ledger.chunk_numbers(conn, pin)
        }
    if versions:
        name = chunks_name(names, kind)
        known = set(instance.get_dynamic_partitions(name))
        new = [key for key in versions if key not in known]
        if new:
            instance.add_dynamic_partitions(name, new)
    return versions
