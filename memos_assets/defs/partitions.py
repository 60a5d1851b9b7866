"""Partition keys: `<source>/<nnn>`, one dynamic definition per kind of file."""

from collections.abc import Iterable, Mapping, Sequence

import dagster as dg

from memos_assets.asset_names import AssetNames
from memos_assets.catalog import Catalog, FileKind
from memos_assets.errors import UsageError

PARTITION = "dagster/partition"
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"


def chunks_name(names: AssetNames, kind: FileKind) -> str:
    """Return the name of the partitions of a kind of file."""
    return names.job(f"{kind.name}_chunks")


def chunks_of(names: AssetNames, kind: FileKind) -> dg.DynamicPartitionsDefinition:
    """Return the chunks of a kind of file; a job's assets must share one definition."""
    return dg.DynamicPartitionsDefinition(name=chunks_name(names, kind))


def chunk_key(source: str, chunk: int) -> str:
    """Return the partition key of a chunk."""
    return f"{source}/{chunk:03d}"


def parse_chunk_key(key: str) -> tuple[str, int]:
    """Return source and chunk number of a partition key.

    Raises:
        UsageError: M530 when it is not such a key.
    """
    source, slash, number = key.rpartition("/")
    if not slash or not number.isdecimal():
        raise UsageError(
            "M530",
            "not a chunk",
            where=key,
            fix="use <source>/<nnn>, for example mixed_precision_embeddings/000",
        )
    return source, int(number)


def by_source(keys: Iterable[str]) -> dict[str, list[int]]:
    """Return source -> its chunk numbers, ascending."""
    found: dict[str, list[int]] = {}
    for key in keys:
        source, chunk = parse_chunk_key(key)
        found.setdefault(source, []).append(chunk)
    return {source: sorted(chunks) for source, chunks in sorted(found.items())}


def chunks_in_run(
    instance: dg.DagsterInstance, catalog: Catalog, tags: Mapping[str, str]
) -> dict[str, list[int]] | None:
    """Return source -> chunk numbers that a run is about, by its tags; None for any other run."""
    one = tags.get(PARTITION)
    first, last = tags.get(RANGE_START, one), tags.get(RANGE_END, one)
    if first is None or last is None:
        return None
    for kind in catalog.consolidated:
        known = list(instance.get_dynamic_partitions(chunks_name(catalog.names, kind)))
        if first in known and last in known:
            return by_source(known[known.index(first) : known.index(last) + 1])
    return None


def contiguous_ranges(known: Sequence[str], wanted: Iterable[str]) -> list[tuple[str, str]]:
    """Cut the wanted keys into ranges of neighbours, in the order in which Dagster keeps them.

    One range is one run; keys that nobody wants are in none of them.
    """
    chosen = set(wanted)
    ranges: list[tuple[str, str]] = []
    first = last = None
    for key in known:
        if key in chosen:
            first, last = first or key, key
        elif first and last:
            ranges.append((first, last))
            first = last = None
    if first and last:
        ranges.append((first, last))
    return ranges


def range_tags(first: str, last: str) -> dict[str, str]:
    """Return the run tags that make one run cover a range of chunks."""
    return {RANGE_START: first, RANGE_END: last}
