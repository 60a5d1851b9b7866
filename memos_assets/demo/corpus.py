"""Corpus files: entities, relations and documents extracted by a language model."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from memos_assets.clustered_vectors import VectorSpace, digest
from memos_assets.demo.defects import (
    JSON_KINDS,
    TEXT_KINDS,
    invalid_texts,
    json_with_defect,
    share,
    text_with_defect,
    unreadable_time,
)
from memos_assets.demo.manifest import FileManifest
from memos_assets.demo.store import DemoStore, SqlValue, batches
from memos_assets.demo.texts import Code, code, iso_offset

LAYOUT = (
    """CREATE TABLE corpus_metadata (
                domain_id TEXT PRIMARY KEY,
                schema_json TEXT NOT NULL,
                created_at TEXT,
                updated_at TEXT
            )""",
    """CREATE TABLE entities (
                id TEXT PRIMARY KEY,
                entity_type TEXT NOT NULL,
                name TEXT NOT NULL,
                canonical_name TEXT NOT NULL,
                aliases TEXT,  -- JSON array
                attributes TEXT,  -- JSON object
                description TEXT,
                source_documents TEXT,  -- JSON array
                embedding BLOB,
                confidence REAL DEFAULT 0.8,
                mention_count INTEGER DEFAULT 1,
                first_seen TEXT,
                last_updated TEXT
            )""",
    """CREATE TABLE relations (
                id TEXT PRIMARY KEY,
                source_entity_id TEXT NOT NULL,
                target_entity_id TEXT NOT NULL,
                relation_type TEXT NOT NULL,
                description TEXT,
                confidence REAL DEFAULT 0.8,
                source_document TEXT,
                created_at TEXT,
                FOREIGN KEY (source_entity_id) REFERENCES entities(id),
                FOREIGN KEY (target_entity_id) REFERENCES entities(id)
            )""",
    """CREATE TABLE documents (
                content_hash TEXT PRIMARY KEY,
                content TEXT NOT NULL,
                source_url TEXT,
                source_type TEXT,
                title TEXT,
                indexed_at TEXT,
                embedding BLOB,
                chunk_hashes TEXT  -- JSON array
            )""",
    """CREATE TABLE chunks (
                chunk_hash TEXT PRIMARY KEY,
                document_hash TEXT NOT NULL,
                content TEXT NOT NULL,
                chunk_index INTEGER,
                embedding BLOB,
                FOREIGN KEY (document_hash) REFERENCES documents(content_hash)
            )""",
    "CREATE INDEX idx_entities_canonical ON entities(canonical_name)",
    "CREATE INDEX idx_entities_type ON entities(entity_type)",
    "CREATE INDEX idx_relations_source ON relations(source_entity_id)",
    "CREATE INDEX idx_relations_target ON relations(target_entity_id)",
    "CREATE INDEX idx_relations_type ON relations(relation_type)",
)

#: The same columns in another order, which makes ``select *`` by position wrong.
REORDERED_LAYOUT = tuple(
    statement.replace("                embedding BLOB,\n", "", 1).replace(
        "id TEXT PRIMARY KEY,\n", "id TEXT PRIMARY KEY,\n                embedding BLOB,\n", 1
    )
    if statement.startswith("CREATE TABLE entities")
    else statement
    for statement in LAYOUT
)

#: Norm of nomic-embed-text, 768 elements, as Ollama returns it.
_NORM = 23.5
_BATCH = 256

#: (entity_type, name with {0} or {1} = a number that occurs once in the kind, description)
_KINDS = (
    ("error_code", "{code}", "{topic} fault"),
    ("cause", "{topic} root cause {0}", "{cause}"),
    ("solution", "{topic} fix {0}", "{remedy}"),
    ("symptom", "{topic} symptom {0}", "{cause}"),
    ("component", "J{axis} motor-{0}", "J{axis} motor of the arm"),
    ("procedure", "mastering_procedure {0}", "{remedy}"),
    ("part_number", "A06B-{1:04d}-H106", "spare part, Größe {axis}"),
    ("parameter", "$PARAM_GROUP_{0}", "{topic} parameter"),
)
_RELATION_TYPES = ("has_symptom", "caused_by", "resolved_by", "affects", "AFFECTS_COMPONENT")
_SOURCE_TYPES = ("alarm_api", "scraped", "forum", "manual", "alarm_api", "article", "synthesis")


def write_corpus(
    path: Path,
    relative: str,
    seed: str,
    *,
    domain: str,
    entities: int,
    relations: int,
    documents: int,
    layout: Sequence[str] = LAYOUT,
) -> FileManifest:
    """Write one corpus file; ``domain`` is its domain_id, e.g. ``fanuc_robotics``."""
    store = DemoStore(path, layout)
    try:
        corpus = _Corpus(store, f"{seed}/{domain}", seed, domain, entities, documents)
        corpus.write_metadata()
        corpus.write_documents()
        corpus.write_entities()
        if layout is not LAYOUT:
            store.defects("entities", f"{seed}/{domain}").note("reordered_columns", entities)
        corpus.write_relations(relations)
        return store.finish(relative)
    finally:
        store.close()


class _Corpus:
    """The tables of one corpus file, written one after the other."""

    def __init__(
        self,
        store: DemoStore,
        seed: str,
        texts_seed: str,
        domain: str,
        entities: int,
        documents: int,
    ) -> None:
        self._store, self._seed, self._texts_seed, self._domain = store, seed, texts_seed, domain
        self._entities, self._documents = entities, documents
        self._space = VectorSpace(
            f"{texts_seed}/nomic", 768, clusters=max(6, entities // 40), norm=_NORM
        )

    def write_metadata(self) -> None:
        """Write the one row memOS rewrites at every start."""
        self._store.insert(
            "corpus_metadata",
            ("domain_id", "schema_json", "created_at", "updated_at"),
            [(self._domain, json.dumps(_schema(self._domain)), iso_offset(8.5), iso_offset(8.637))],
        )

    def write_documents(self) -> None:
        """Write the documents; chunks stay empty, as no code of memOS writes them."""
        defects = self._store.defects("documents", self._seed)
        every = range(self._documents)
        missing = defects.place("null_embeddings", "vector", every, share(self._documents, 0.06))
        texts = defects.place_kinds(TEXT_KINDS, "content", every, share(self._documents, 0.002))
        defects.note("unresolved_chunk_hashes", self._documents)
        self._store.insert(
            "documents",
            (
                "content_hash",
                "content",
                "source_url",
                "source_type",
                "title",
                "indexed_at",
                "embedding",
                "chunk_hashes",
            ),
            (
                row
                for batch in batches(every, _BATCH)
                for row in self._document_rows(batch, missing, texts)
            ),
        )
        self._store.store_bytes_as_text("documents", "content", invalid_texts(texts, {}))

    def _document_rows(
        self, batch: Sequence[int], missing: frozenset[int], texts: dict[int, str]
    ) -> Iterator[tuple[SqlValue, ...]]:
        abouts = [code(self._texts_seed, index) for index in batch]
        vectors = self._space.rows(
            [about.cluster for about in abouts], f"{self._domain}/documents/{batch[0]}"
        )
        for row, (index, about) in enumerate(zip(batch, abouts, strict=True)):
            source = _SOURCE_TYPES[index % len(_SOURCE_TYPES)]
            has_page = source == "alarm_api"
            text = about.alarm_page if has_page else f"page {index}: {about.cause * 3}"
            content = text_with_defect(text, texts.get(index))
            yield (
                self._document_hash(index),
                content,
                _source_url(source, about),
                source,
                f"FANUC {about.canonical_form} Alarm" if has_page else "",
                iso_offset(index * 1.37),
                None if index in missing else vectors[row].tobytes(),
                json.dumps([hashlib.sha256(content.encode()).hexdigest()[:16]]),
            )

    def _document_hash(self, index: int) -> str:
        # memOS hashes the normalised text; repeated texts would collide here, so the number is in.
        return digest(self._seed, "document", index, length=16)

    def _ends(self, relation: int) -> tuple[int, int]:
        """Return the entities that a relation joins, before any defect is placed."""
        source = relation % self._entities
        return source, (source + 1 + relation // self._entities) % self._entities

    def _identity(self, kind: str, index: int) -> str:
        digits = digest(self._seed, kind, index, length=11)
        return f"{digits[:8]}-{digits[8:]}"

    def write_entities(self) -> None:
        """Write the entities with the types, attributes and names a model invents."""
        total = self._entities
        every = range(total)
        defects = self._store.defects("entities", self._seed)
        missing = defects.place("null_embeddings", "vector", every, share(total, 0.3))
        piped = defects.place("piped_entity_types", "entity_type", every, share(total, 0.04))
        later = range(total // 2, total)
        repeated = defects.place("duplicate_canonical_names", "name", later, share(total, 0.05))
        attributes = defects.place_kinds(
            ("attributes_array", "attributes_string", "attributes_null", *JSON_KINDS),
            "attributes",
            every,
            share(total, 0.002),
        )
        texts = defects.place_kinds(TEXT_KINDS, "description", every, share(total, 0.001))
        unknown = defects.place("nan_stored_as_null", "confidence", every, share(total, 0.01))
        bare = defects.place("null_descriptions", "description", every, share(total, 0.01))
        unreadable = defects.place(
            "unreadable_timestamps", "first_seen", every, share(total, 0.0005)
        )
        defects.note("timestamps_iso_offset", total - len(unreadable))
        defects.note("ids_that_are_not_uuids", total)
        # Every 97th row falls on a full second, where isoformat drops the fraction.
        whole = frozenset(every[::97])
        defects.note("timestamps_without_fraction", len(whole - unreadable))

        def rows() -> Iterator[tuple[SqlValue, ...]]:
            for batch in batches(every, _BATCH):
                abouts = [code(self._texts_seed, index) for index in batch]
                vectors = self._space.rows(
                    [about.cluster for about in abouts], f"{self._domain}/entities/{batch[0]}"
                )
                for row, (index, about) in enumerate(zip(batch, abouts, strict=True)):
                    kind, _, description = _entity(index, about)
                    # The first half holds no repetition, so a copied name occurs there once.
                    model = index - total // 2 if index in repeated else index
                    name = _entity(model, code(self._texts_seed, model))[1]
                    sources = [self._document_hash(index % self._documents)]
                    yield (
                        self._identity("entity", index),
                        f"{kind} | procedure" if index in piped else kind,
                        name,
                        _canonical(name),
                        json.dumps([name] if index % 5 == 0 else []),
                        _attributes(about, attributes.get(index)),
                        None if index in bare else text_with_defect(description, texts.get(index)),
                        json.dumps(sources * (1 + index % 2)),
                        None if index in missing else vectors[row].tobytes(),
                        float("nan") if index in unknown else (0.8, 0.85, 0.9)[index % 3],
                        1 + index % 4,
                        unreadable_time(
                            unreadable, index, iso_offset(index * 3 + (index not in whole) * 0.644)
                        ),
                        iso_offset(index * 3 + 0.781001),
                    )

        self._store.insert(
            "entities",
            (
                "id",
                "entity_type",
                "name",
                "canonical_name",
                "aliases",
                "attributes",
                "description",
                "source_documents",
                "embedding",
                "confidence",
                "mention_count",
                "first_seen",
                "last_updated",
            ),
            rows(),
        )
        self._store.store_bytes_as_text("entities", "description", invalid_texts(texts, {}))

    def write_relations(self, total: int) -> None:
        """Write the relations: pairs by construction unique, apart from the known defects."""
        defects = self._store.defects("relations", self._seed)
        rejected = self._store.defects("entities", self._seed).rejected
        every = range(total)
        loops = defects.place("self_relations", "ends", every, share(total, 0.003))
        sound = [index for index in every if rejected.isdisjoint(self._ends(index))]
        dangling = defects.place("dangling_ends", "ends", sound, share(total, 0.01))
        later = range(total // 2, total)
        originals = [index for index in range(total // 2) if index not in loops | dangling]
        repeated = defects.place("duplicate_triples", "ends", later, share(total, 0.02))
        copies = dict(zip(sorted(repeated), originals, strict=False))

        def rows() -> Iterator[tuple[SqlValue, ...]]:
            for index in every:
                model = copies.get(index, index)
                source, target = self._ends(model)
                target = source if index in loops else target
                defects.note(
                    "links_to_rejected_rows", int(not rejected.isdisjoint((source, target)))
                )
                ends = [self._identity("entity", source), self._identity("entity", target)]
                if index in dangling:
                    ends[index % 2] = self._identity("foreign entity", index)
                kind = _RELATION_TYPES[model % len(_RELATION_TYPES)]
                defects.note("free_relation_types", int(kind.isupper()))
                yield (
                    self._identity("relation", index),
                    *ends,
                    kind,
                    "observed together" if index % 9 == 0 else "",
                    0.8,
                    "" if index % 4 == 0 else self._document_hash(index % self._documents),
                    iso_offset(index * 2.5 + 0.603002),
                )

        self._store.insert(
            "relations",
            (
                "id",
                "source_entity_id",
                "target_entity_id",
                "relation_type",
                "description",
                "confidence",
                "source_document",
                "created_at",
            ),
            rows(),
        )


def _entity(index: int, about: Code) -> tuple[str, str, str]:
    kind, name, description = _KINDS[index % len(_KINDS)]
    words = {
        "code": about.canonical_form,
        "topic": about.topic,
        "cause": about.cause,
        "remedy": about.remedy,
        "axis": 1 + index % 6,
    }
    return kind, name.format(index, index // len(_KINDS), **words), description.format(**words)


def _canonical(name: str) -> str:
    return name.lower().strip().replace("-", "").replace("_", "").replace(" ", "")


def _attributes(about: Code, kind: str | None) -> str:
    other = {
        "attributes_array": ["severity", about.severity],
        "attributes_string": "see manual",
        "attributes_null": None,
    }
    if kind in other:
        return json.dumps(other[kind])
    return json_with_defect({"severity": about.severity, "category": about.category}, kind)


def _source_url(source: str, about: Code) -> str:
    if source in ("synthesis", "scraped"):
        return ""
    return f"https://{source.replace('_', '-')}.example/code/{about.canonical_form}"


def _schema(domain: str) -> dict[str, object]:
    kinds = sorted({kind for kind, _, _ in _KINDS})
    return {
        "domain_id": domain,
        "domain_name": domain.replace("_", " ").title(),
        "description": f"Knowledge base for {domain.replace('_', ' ')}",
        "entity_types": [
            {"type": kind, "description": kind, "patterns": [], "examples": [], "attributes": []}
            for kind in kinds
        ],
        "relationships": [
            {
                "type": name,
                "source_types": ["error_code"],
                "target_types": kinds,
                "description": name,
                "bidirectional": False,
            }
            for name in _RELATION_TYPES
        ],
        "extraction_hints": {"error_pattern": r"SRVO-\d+|SYST-\d+", "axis_pattern": "J[1-6]"},
        "priority_patterns": ["SRVO-", "alarm", "servo amplifier", "encoder"],
    }
