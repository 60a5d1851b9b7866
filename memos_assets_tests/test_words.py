"""Words that the glossary retired do not come back."""

import pytest

from memos_assets_tests.retired_words import (
    COVERED,
    PROJECT_ROOT,
    Retired,
    files_below,
    hits_below,
    hits_in,
    retired_modules,
    retired_words,
    rows_below,
)

CLAIM = [Retired(("claim", "claims"), ("claim check",), ("sql/migrations/",))]


@pytest.mark.parametrize("path", COVERED)
def test_no_retired_word_is_in(path: str) -> None:
    assert list(files_below([path]))
    found = [f"{hit.path}:{hit.line}: {hit.word}: {hit.text}" for hit in hits_below([path])]
    assert found == []


def test_no_module_has_a_retired_name() -> None:
    names = {
        path.stem
        for room in ("memos_assets", "bench", "eval", "faults", "tamper")
        for path in (PROJECT_ROOT / room).rglob("*.py")
    }
    assert names.isdisjoint(retired_modules())


def test_the_replacement_of_every_retired_module_exists() -> None:
    names = {path.stem for path in (PROJECT_ROOT / "memos_assets").rglob("*.py")}
    for _, now in rows_below("Retired module names"):
        assert {name.strip("` ") for name in now.split(",")} <= names, now


def test_every_retired_word_has_a_replacement() -> None:
    assert len(retired_words()) > 15
    assert all(instead for _, instead, _ in rows_below("Retired words"))


@pytest.mark.parametrize(
    "text",
    ["A claim.", "two claims", "class ClaimOutcome:", "checked_claims(x)", "CLAIM", "V01_claim_2"],
)
def test_a_retired_word_is_found_at_word_boundaries_of_prose_and_names(text: str) -> None:
    assert len(hits_in(text, "docs/page.md", CLAIM)) == 1


@pytest.mark.parametrize("text", ["reclaim", "disclaimer", "claimant", "the claim check"])
def test_a_longer_word_and_a_legitimate_context_are_not_hits(text: str) -> None:
    assert hits_in(text, "docs/page.md", CLAIM) == []


def test_a_phrase_is_found_across_the_end_of_a_line() -> None:
    phrase = [Retired(("the books",), (), ())]
    (hit,) = hits_in("what is in the\n# books", "memos_assets/x.py", phrase)
    assert (hit.line, hit.word) == (1, "the books")


def test_a_path_is_left_out_where_the_table_says_so() -> None:
    assert hits_in("claim", "sql/migrations/versions/1.py", CLAIM) == []
    assert len(hits_in("claim", "sql/functions/1.sql", CLAIM)) == 1
