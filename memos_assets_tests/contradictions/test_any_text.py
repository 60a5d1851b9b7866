"""Whatever the texts are: no error, no contradiction with itself, the same either way round."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from memos_assets.contradictions import Statement, detect

WORDS = st.sampled_from(
    [
        *("I", "we", "the", "not", "never", "no", "pump", "valve", "is", "was", "open", "closed"),
        *("red", "blue", "3", "5", "km", "2024-03-05", "May", "may", "at", ".", ",", "?", "!", ";"),
        *(
            "-",
            "```",
            '"',
            "'",
            "Graz",
            "Oslo",
            "before",
            "after",
            "than",
            "and",
            "or",
            "if",
            "von",
        ),
        *("ist", "nicht", "nie", "kein", "Ventil", "offen", "%", "first", "twenty", "five", "$"),
        *("hundred", "€", "3,5", "10:30"),
    ]
)
SENTENCES = st.lists(WORDS, max_size=14).map(" ".join)
TEXTS = st.one_of(SENTENCES, st.text(max_size=80))


@settings(max_examples=400, deadline=None)
@given(TEXTS, TEXTS)
@example("\u0130 is not open", "\u0130 is open")
@example("-", "\u2019s")
@example("twenty", "20")
@example("99999999999999999999999999 m", "1e400 m")
@example("31.13.2024", "0000-00-00")
def test_detection_is_symmetric_and_never_raises(one: str, other: str) -> None:
    a, b = Statement(one), Statement(other)
    assert detect(a, a) is None
    assert detect(a, Statement(one)) is None
    found, turned = detect(a, b), detect(b, a)
    assert found == (turned and turned.turned())
    if found is not None:
        assert 0 < found.score <= 1
        assert 0 <= found.span_a.start <= found.span_a.end <= len(one)
        assert 0 <= found.span_b.start <= found.span_b.end <= len(other)
