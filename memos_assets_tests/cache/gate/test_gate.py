"""Rules of the gate: what is refused by which rule, what is served, and at what cost."""

import itertools
import json
import time
from pathlib import Path

import pytest

from memos_assets.cache.gate import RULES, NamespaceRules, judge, judge_twice, rules_for
from memos_assets.errors import AgentError
from memos_assets.language.lexicon import LANGUAGES, WORDS, lexicon, lines_of, named_lists
from memos_assets.language.reading import read

PAIRS = [
    json.loads(line)
    for line in Path(__file__).with_name("pairs.jsonl").read_text("utf-8").splitlines()
]
ANSWERS = rules_for("answers")
A, B = "How do I enable the log?", "How can I enable the log?"


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair["asked"][:40])
def test_the_rule_that_objects_is_named_either_way_round(pair: dict[str, str]) -> None:
    asked, matched = pair["asked"], pair["matched"]
    for one, other in ((asked, matched), (matched, asked)):
        verdict = judge(ANSWERS, one, other)
        assert (verdict.rule, verdict.serve) == (pair["rule"], not pair["rule"]), verdict
        assert verdict.reason
    # The same text is always served: its answer is the one that is stored for it.
    assert judge(ANSWERS, asked, f"  {asked} ").serve


@pytest.mark.parametrize("rule", sorted(RULES))
def test_without_its_rule_a_pair_is_served(rule: str) -> None:
    """Each rule alone decides some pair: it can be red, and nothing else covers for it."""
    others = tuple(name for name in ANSWERS.rules if name not in (rule, "slots"))
    without = NamespaceRules("test", others, slot_words=3)
    alone = NamespaceRules("test", ("language", rule), slot_words=3)
    pairs = [pair for pair in PAIRS if pair["rule"] == rule]
    assert len(pairs) >= 3 or rule == "names"
    assert any(judge(without, pair["asked"], pair["matched"]).serve for pair in pairs)
    assert all(judge(alone, pair["asked"], pair["matched"]).rule == rule for pair in pairs)
    assert {"en", "de"} <= {_language(pair) for pair in pairs} or rule == "names"


def _language(pair: dict[str, str]) -> str:
    words = set(pair["asked"].lower().replace("?", "").split())
    return max(LANGUAGES, key=lambda name: len(words & lexicon(name).function))


@pytest.mark.parametrize(
    ("asked", "matched"),
    [
        ("How come the lamp is hot?", "Why is the lamp hot?"),
        ("Is there a reason that the lamp flickers?", "Why does the lamp flicker?"),
        ("The size on the label isn't right.", "The size on the label is wrong."),
        ("Die Größe auf dem Etikett ist nicht richtig.", "Die Größe auf dem Etikett ist falsch."),
        ("How do I avoid copies of a table?", "How do I make no copies of a table?"),
        ("What do I do now that my watch is broken?", "What do I do when my watch is broken?"),
    ],
)
def test_where_words_may_be_replaced_a_negation_may_be_said_by_a_word(
    asked: str, matched: str
) -> None:
    assert judge(rules_for("results"), asked, matched).serve
    assert judge(rules_for("results"), matched, asked).serve


def test_a_word_more_that_asks_for_another_thing_is_refused_for_results_too() -> None:
    for rule, asked, matched in (
        ("additions", "Who sells the iPhone 15?", "Who sells the iPhone 15 Pro?"),
        ("additions", "Wer verkauft das Modell 15?", "Wer verkauft das Modell 15 Pro?"),
        ("question", "Why does bamboo grow?", "How does bamboo grow?"),
    ):
        assert judge(rules_for("results"), asked, matched).rule == rule
    # Whether and how are near: a list of hits for one serves the other.
    assert judge(rules_for("results"), "Can I eat bamboo?", "How can I eat bamboo?").serve


def test_an_irregular_form_has_the_stem_of_its_base() -> None:
    english, german = lexicon("en"), lexicon("de")
    for form, base in (("made", "make"), ("taken", "take"), ("wrote", "write"), ("news", "news")):
        assert english.stem(form) == english.stem(base)
    assert english.stem("news") == "news"
    assert german.stem("gekauft") == german.stem("kaufen")


def test_the_reason_shows_the_words() -> None:
    assert (
        "'enable' is the opposite of 'disable'" in judge(ANSWERS, A, A.replace("en", "dis")).reason
    )
    assert judge(ANSWERS, "Where is box 7?", "Where is box 8?").reason == "7 asked, 8 matched"
    assert "colour" in judge(ANSWERS, "Who has a red car?", "Who has a blue car?").reason


def test_a_text_about_now_is_served_while_the_answer_is_young_where_a_namespace_says_so() -> None:
    asked, matched = "What is the weather in Oslo?", "How is the weather in Oslo?"
    search = rules_for("search")
    assert judge(search, asked, matched, age_seconds=search.fresh_seconds).serve
    assert not judge(search, asked, matched, age_seconds=search.fresh_seconds + 1).serve
    assert not judge(search, asked, matched).serve
    assert not judge(ANSWERS, asked, matched, age_seconds=0.0).serve


def test_namespaces_have_rules_of_their_own() -> None:
    asked, matched = "What does a geologist earn?", "What does a sommelier earn?"
    assert judge(rules_for("results"), asked, matched).serve
    assert rules_for("no such one").rules == rules_for("default").rules
    with pytest.raises(AgentError, match="M794"):
        NamespaceRules("mine", ("numbers", "numbrs"))


@pytest.mark.parametrize(
    "text", ["", "?", "42", "zzzz", "x" * 5_000, "\u0000", "'-'", "a-", "$", "½"]
)
def test_no_text_breaks_the_gate(text: str) -> None:
    assert not judge(ANSWERS, text, A).serve
    assert not judge(ANSWERS, A, text).serve
    assert judge(ANSWERS, text, text).serve


def test_long_texts_are_served_by_exact_match_only_and_take_no_time() -> None:
    words = " ".join(f"what is part{n} of the box" for n in range(2_000))
    started = time.process_time()
    for long in (words, "how is " + "x" * 1_000_000):
        assert judge(ANSWERS, long, long + " made").rule == "length"
        assert judge(ANSWERS, A, long).rule == "length"
        assert judge(ANSWERS, long, long).serve
    longest = " ".join(f"box{n}s" if n else "the" for n in range(300))
    assert judge(ANSWERS, longest, longest.replace("s", "t")).rule == "identifiers"
    assert time.process_time() - started < 2


def test_the_judge_has_the_last_word_and_fails_closed() -> None:
    def times_out(*_: str) -> bool:
        raise TimeoutError

    assert judge_twice(ANSWERS, A, B, None).serve
    assert judge_twice(ANSWERS, A, B, lambda *_: True).serve
    assert judge_twice(ANSWERS, A, B, lambda *_: False).rule == "judge"
    assert judge_twice(ANSWERS, A, B, lambda *_: "yes").rule == "judge"  # type: ignore[arg-type]
    failed = judge_twice(ANSWERS, A, B, times_out)
    assert (failed.serve, failed.reason) == (False, "the judge failed: TimeoutError")
    # It cannot overrule a rule, and is not asked.
    assert judge_twice(ANSWERS, A, "How do I disable the log?", times_out).rule == "antonyms"


def test_a_pair_takes_under_50_microseconds() -> None:
    pairs = [(pair["asked"], pair["matched"]) for pair in PAIRS]
    best = float("inf")
    for _ in range(40):
        started = time.process_time()
        for asked, matched in pairs:
            judge(ANSWERS, asked, matched)
        best = min(best, (time.process_time() - started) / len(pairs))
    # Other work on the machine slows a core down by half; 50 us on an idle one.
    assert best < 100e-6


@pytest.mark.parametrize("language", LANGUAGES)
def test_lists_have_the_form_that_docs_state(language: str) -> None:
    folder = WORDS / language
    for number, line in lines_of(folder / "antonyms.txt"):
        sides = line.replace("||", "|").split("|")
        assert len(sides) == 2, number
        assert all(side.strip() for side in sides), number
    kinds = named_lists(folder / "kinds.txt")
    assert all(len(members) >= 2 for members in kinds.values())
    assert all(len(line.split(",")) >= 2 for _, line in lines_of(folder / "synonyms.txt"))
    assert len(lexicon(language).months) == 12


def test_two_members_of_a_kind_are_never_synonyms() -> None:
    """A synonym would let one of a kind be served for another one."""
    found = []
    for language in LANGUAGES:
        words = lexicon(language)
        listed = [m for ms in named_lists(WORDS / language / "kinds.txt").values() for m in ms]
        known = {m: words.word(m.partition("=")[0]) for m in listed}.values()
        for one, other in itertools.combinations(sorted(known, key=str), 2):
            common = one.kinds.keys() & other.kinds.keys()
            if one.synonyms & other.synonyms and any(
                one.kinds[kind] != other.kinds[kind] for kind in common
            ):
                found.append((one.text, other.text))
    assert found == []


def test_numbers_are_read_in_many_forms() -> None:
    words = lexicon("en")

    def numbers(text: str) -> set[str]:
        return read(text, text.split(), words).numbers

    assert numbers("1,234,567 and 1.50 and 2.00 and 007") == {"1234567", "1.50", "2", "007"}
    assert numbers("twenty-five thousand") == {"25000"}
    assert numbers("3 million, 2.5k") == {"3000000", "2500"}
    assert numbers("the 3rd and the fourth of 5%") == {"3", "4", "5"}
