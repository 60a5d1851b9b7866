"""memOS's rules: privacy levels, relevance, tags, summaries, decay, retention."""

import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from memos_assets.errors import AgentError
from memos_assets.memory.service.crypto import KeyRing
from memos_assets.memory.service.prepared import MOST_BYTES, PreparedMemory, prepared
from memos_assets.memory.service.privacy import RULES, anonymised, kinds_in, violations
from memos_assets.memory.service.store import retention
from memos_assets.memory.service.therapeutic import (
    decay_sql,
    memory_decay,
    summary,
    therapeutic_context,
)
from memos_assets.memory.service.values import PrivacyLevel

#: Text -> kinds of health information in it.
TEXTS = {
    "SSN 123-45-6789": {"ssn"},
    "call 555-123-4567": {"phone"},
    "mail ann@example.org": {"email"},
    "born 3/14/1990": {"date_of_birth"},
    "MRN: 4711": {"medical_id"},
    "at 12 Long Meadow Street": {"address"},
    "code 90210": {"zip_code"},
    "card 4111 1111 1111 1111": {"credit_card"},
    "I slept well": set[str](),
}
LEVELS = list(PrivacyLevel)


@pytest.mark.parametrize(("text", "kinds"), TEXTS.items())
def test_kinds_are_found_and_replaced(text: str, kinds: set[str]) -> None:
    assert kinds_in(text) == kinds
    hidden = anonymised(text, PrivacyLevel.MINIMAL)
    assert kinds_in(hidden) == set()
    assert (hidden == text) is not bool(kinds)
    assert anonymised(text, PrivacyLevel.COMPREHENSIVE) == text


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("text", [*TEXTS, "My diagnosis is new", "I think of an overdose"])
def test_a_level_refuses_what_memos_says_it_refuses(text: str, level: PrivacyLevel) -> None:
    kinds = kinds_in(text)
    sensitive = "diagnosis" in text or "overdose" in text
    expected = {
        "minimal": bool(kinds),
        "balanced": bool(kinds & {"ssn", "credit_card", "medical_id"}),
        "comprehensive": False,
        "restricted": bool(kinds) or sensitive,
    }
    assert bool(violations(text, level)) is expected[level]
    assert set(RULES) == set(LEVELS)


@pytest.mark.parametrize("part", ["a.", "id ", "id  " * 9, "1 ", "1" * 9, "Ab ", "a@", "-", " "])
def test_no_text_takes_a_square_of_its_length(part: str) -> None:
    text = "id 1 " + part * (200_000 // len(part))
    began = time.process_time()
    anonymised(text, PrivacyLevel.RESTRICTED)
    assert time.process_time() - began < 5


def test_a_refusal_names_kinds_and_not_the_text(keys: KeyRing) -> None:
    with pytest.raises(AgentError, match=r"^M745 .*balanced .*\(medical_id, ssn\)") as caught:
        prepared(keys, "SSN 123-45-6789, MRN 4711")
    assert not {"123-45-6789", "4711"} & set(str(caught.value).split())


def test_restricted_hides_names_and_minimal_hides_metadata(keys: KeyRing) -> None:
    memory = prepared(keys, "Met Ann Miller and Dr. House.", privacy_level="restricted")
    assert memory.readable == "[NAME] and [DOCTOR]."
    kept = prepared(keys, "Slept.", privacy_level="minimal", metadata={"at": ["code 90210", 5]})
    assert kept.metadata == {"at": ["code [ZIP REMOVED]", 5]}
    assert "Slept" not in repr(kept)


def test_context_is_memos_own() -> None:
    plain = therapeutic_context("I read a book", "relapse_prevention")
    assert (plain.relevance, plain.crisis_level, plain.tags) == (0.5, 0.0, [])
    assert plain.entities == {"locations": [], "organizations": [], "persons": [], "dates": []}
    found = therapeutic_context("Sober for a year: a MILESTONE. I relapsed once.", "maintenance")
    assert found.relevance == pytest.approx(0.81)
    assert found.crisis_level == 0.8
    assert therapeutic_context("clean", "detox").relevance == 1.0
    assert therapeutic_context("clean", "nonsense").relevance == 0.9
    assert therapeutic_context("x", "early_recovery").relevance == pytest.approx(0.55)
    words = "goals, medication, housing, work, family, support and therapy"
    assert therapeutic_context(words, None).tags == [
        *("goals", "medication", "housing", "work", "family"),
    ]


def test_a_summary_has_two_sentences_and_200_characters() -> None:
    assert summary("One. Two. Three.") == "One.  Two"
    assert len(summary("word " * 100)) == 200


def test_decay_is_memos_formula_in_python_and_in_sql(shared_engine: sa.Engine) -> None:
    at = datetime(2026, 6, 1, 12, tzinfo=UTC)
    ages = (-5, 0, 6, 29, 30, 31, 364, 365, 366, 2_555, 40_000)
    weights = ((0.0, False), (0.5, True), (1.0, False))
    with shared_engine.connect() as conn:
        for days, (importance, milestone) in itertools.product(ages, weights):
            created = at - timedelta(days=days)
            factor = 1.5 if days < 30 else 0.5 if days > 365 else 1.0
            grown = 2.718281828459045 ** (-max(days, 0) / 7) * (1 + 2 * importance)
            expected = min(grown * (10 if milestone else 1) * factor, 1.0)
            found = memory_decay(created, importance, is_milestone=milestone, at=at)
            assert found == pytest.approx(expected, rel=1e-9, abs=1e-200)
            # memOS mixed naive and aware times, which is a TypeError.
            plain = created.replace(tzinfo=None)
            assert memory_decay(plain, importance, is_milestone=milestone, at=at) == found
            expression = decay_sql(
                sa.literal(plain, sa.DateTime()),
                sa.literal(importance, sa.Double()),
                sa.literal(milestone),
                sa.literal(at.replace(tzinfo=None), sa.DateTime()),
            )
            assert conn.scalar(sa.select(expression)) == pytest.approx(found, rel=1e-9)


def test_retention_is_in_whole_years_and_never_none() -> None:
    at = datetime(2026, 1, 1)  # noqa: DTZ001  as the column holds it
    assert retention(2_555, at) == (at + timedelta(days=2_555), "7_years")
    assert retention(400, at) == (at + timedelta(days=365), "1_years")
    # memOS makes that zero years: the memory would be gone at once.
    assert retention(90, at) == (at + timedelta(days=90), "90_days")
    for days in (0, -1, 10**9):
        with pytest.raises(AgentError, match=r"^M746 retention_days"):
            retention(days, at)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("a\0b", "NUL"),
        ("half \ud83d", "surrogate"),
        ("x" * (MOST_BYTES + 1), "1,048,577 bytes"),
        (5, "of type int"),
    ],
)
def test_content_that_cannot_be_stored_is_refused(keys: KeyRing, content: str, what: str) -> None:
    with pytest.raises(AgentError, match=rf"^M743 content: .*{what}"):
        prepared(keys, content)


def test_content_of_one_megabyte_is_prepared(keys: KeyRing) -> None:
    memory = prepared(keys, "word " * 200_000)
    assert keys.decrypt(memory.token, memory="m") == memory.content
    assert len(memory.summary) <= 200


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"memory_type": "nonsense"}, "memory_type"),
        ({"privacy_level": "public"}, "privacy_level"),
        ({"therapeutic_relevance": 1.5}, "therapeutic_relevance"),
        ({"therapeutic_relevance": float("nan")}, "therapeutic_relevance"),
        ({"therapeutic_relevance": "0.5"}, "therapeutic_relevance"),
        ({"tags": ["ok", ""]}, "tags"),
        ({"tags": "word"}, "tags"),
        ({"tags": ["a\0"]}, "tags"),
        ({"metadata": {"a": float("nan")}}, "metadata"),
        ({"metadata": {"a": object()}}, "metadata"),
        ({"metadata": {"a": "\0"}}, "metadata"),
        ({"recovery_stage": "x" * 51}, "recovery_stage"),
        ({"source_conversation_id": "a\0"}, "source_conversation_id"),
    ],
)
def test_values_that_cannot_be_are_refused(
    keys: KeyRing, fields: dict[str, object], where: str
) -> None:
    prepare: Callable[..., PreparedMemory] = prepared
    with pytest.raises(AgentError, match=rf"^M746 {where}: "):
        prepare(keys, "text", **fields)
