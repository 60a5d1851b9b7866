"""How many rows each demo file has at each scale."""

from dataclasses import dataclass, fields, replace
from typing import Literal

Scale = Literal["small", "plan"]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows per file or per family of rows in one file."""

    mixed_codes: int
    mixed_search: int
    mixed_medium: int
    mixed_fast: int
    mixed_archive: int
    hsea: int
    bge: int
    fanuc_entities: int
    fanuc_relations: int
    fanuc_documents: int
    small_corpus: int
    pages: int
    queries: int
    findings: int
    aggregated: int
    templates: int
    hyperbolic: int
    memories: int
    test_documents: int
    benchmarks: int

    def times(self, factor: float) -> "Rows":
        """Return these rows ``factor`` times, and enough of each for every known defect."""
        if factor == 1.0:
            return self
        return replace(
            self,
            **{
                field.name: max(40, round(getattr(self, field.name) * factor))
                for field in fields(self)
            },
        )


#: "plan" has the sizes of the remediation plan (186, 43, 27 and 8.7 MiB); row counts of the first
#: three follow from 8,449 codes in 105 categories. "small" is a folder for tests.
SCALES: dict[Scale, Rows] = {
    "plan": Rows(
        mixed_codes=8449,
        mixed_search=470,
        mixed_medium=60,
        mixed_fast=80,
        mixed_archive=60,
        hsea=8449,
        bge=302,
        fanuc_entities=6000,
        fanuc_relations=6000,
        fanuc_documents=2350,
        small_corpus=240,
        pages=1240,
        queries=460,
        findings=40,
        aggregated=280,
        templates=120,
        hyperbolic=300,
        memories=490,
        test_documents=40,
        benchmarks=200,
    ),
    "small": Rows(
        mixed_codes=72,
        mixed_search=22,
        mixed_medium=12,
        mixed_fast=14,
        mixed_archive=16,
        hsea=140,
        bge=100,
        fanuc_entities=160,
        fanuc_relations=200,
        fanuc_documents=60,
        small_corpus=60,
        pages=100,
        queries=60,
        findings=60,
        aggregated=56,
        templates=24,
        hyperbolic=60,
        memories=54,
        test_documents=12,
        benchmarks=40,
    ),
}
