"""What nobody stands for contradicts nothing: code, quotations, questions, plans, hypotheses."""

import pytest

from memos_assets.contradictions import Statement, detect
from memos_assets.contradictions.sentences import MOST_CHARACTERS, asserted

SAID = "The valve is open."


def of(text: str) -> list[str]:
    return [sentence.text.strip() for sentence in asserted(text)]


@pytest.mark.parametrize(
    "text",
    [
        "Is the valve closed?",
        "Is it true that the valve is closed",
        "If the valve is closed, the pressure rises.",
        "Maybe the valve is closed.",
        "The valve might be closed.",
        "We plan to have the valve closed.",
        "I want the valve to be closed.",
        "I hope the valve is closed.",
        "The valve should be closed.",
        'Tom said: "The valve is closed."',
        "Tom said \u201cthe valve is closed\u201d to Marta.",
        "> The valve is closed.",
        "```\nThe valve is closed.\n```",
        "valve.is_open = False",
        "assert valve == closed",
        "    valve is closed",
        '{"valve": "closed"}',
        "Can you tell me whether the valve is closed?",
        "Le robinet est fermé dans la cave.",
    ],
)
def test_it_contradicts_nothing(text: str) -> None:
    assert detect(Statement(SAID), Statement("The valve is closed.")) is not None
    assert detect(Statement(SAID), Statement(text)) is None


@pytest.mark.parametrize(
    "text",
    [
        "Ist das Ventil geschlossen?",
        "Wenn das Ventil geschlossen ist, steigt der Druck.",
        "Vielleicht ist das Ventil geschlossen.",
        "Ich möchte, dass das Ventil geschlossen ist.",
        "Das Ventil könnte geschlossen sein.",
        "Tom sagte: \u201eDas Ventil ist geschlossen.\u201c",
    ],
)
def test_neither_does_it_in_german(text: str) -> None:
    said = Statement("Das Ventil ist offen.")
    assert detect(said, Statement("Das Ventil ist geschlossen.")) is not None
    assert detect(said, Statement(text)) is None


def test_what_stands_before_a_question_is_said() -> None:
    assert of("I run Flask 2.3 on the Pi, can you help me with the login?") == [
        "I run Flask 2.3 on the Pi"
    ]
    assert of("The pump leaks. How do I stop that?") == ["The pump leaks"]


def test_may_is_a_month_where_it_has_a_capital() -> None:
    assert of("The audit is due on 3 May.") == ["The audit is due on 3 May"]
    assert of("The audit may be due on 3 June.") == []


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("The ratio is 3. It holds.", ["The ratio is 3", "It holds"]),
        ("Am 3. Mai beginnt der Kurs. Er ist voll.", ["Am 3. Mai beginnt der Kurs", "Er ist voll"]),
        ("Dr. Novak is here. He waits.", ["Dr. Novak is here", "He waits"]),
        ("The pump runs, but the fan does not.", ["The pump runs,", "but the fan does not"]),
    ],
)
def test_sentences_end_where_they_end(text: str, sentences: list[str]) -> None:
    assert of(text) == sentences


def test_offsets_are_those_of_the_text() -> None:
    text = 'Well. "No!" `x = 1` The pump leaks; the fan is old.\n- Marta: The lamp is new.'
    for sentence in asserted(text):
        there = text[sentence.start : sentence.start + len(sentence.text)]
        pairs = zip(there, sentence.text, strict=True)
        assert all(one == other or other == " " for one, other in pairs)


def test_a_long_text_is_read_to_a_limit() -> None:
    text = "The pump leaks. " * 10_000
    assert sum(len(sentence.text) for sentence in asserted(text)) <= MOST_CHARACTERS
