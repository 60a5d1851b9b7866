"""When a reading takes much of a table, and how losses are named."""

import pytest

from memos_assets.losses import Loss, by_table, embedding_losses, row_losses, sentence


@pytest.mark.parametrize(
    ("reason", "count", "of", "much"),
    [
        ("wrong_type", 5, 99, True),
        ("wrong_type", 5, 100, False),
        ("wrong_type", 4, 10, False),
        ("wrong_type", 4, 4, True),
        ("wrong_type", 1, 1, True),
        ("a_reason_of_tomorrow", 50, 100, True),
        ("dangling_end", 50, 100, False),
        ("zero", 100, 100, False),
        ("wrong_type", 0, 0, False),
    ],
)
def test_a_reading_takes_much_from_five_rows_and_five_per_cent_on_or_all(
    reason: str, count: int, of: int, *, much: bool
) -> None:
    assert Loss("s", "t", "", reason, count, of).takes_much is much


def test_embeddings_are_counted_among_those_that_are_there() -> None:
    without = {"dense: missing": 40, "dense: wrong_length": 5, "zero": 2}
    found = {one.reason: one for one in embedding_losses("s", "t", 100, without)}
    assert (found["wrong_length"].count, found["wrong_length"].of) == (5, 60)
    assert (found["missing"].of, found["zero"].column) == (100, "embedding")


def test_the_sentence_names_the_largest_shares_of_each_table_first() -> None:
    losses = by_table(
        [
            *row_losses("one", "links", 10, {"dangling_end": 5}),
            *row_losses("two", "links", 90, {"dangling_end": 5}),
            *embedding_losses("one", "texts", 4, {"embedding: zero": 1}),
        ]
    )
    assert sentence(losses) == (
        "Lost by table: texts: embedding zero 1 of 4 (25.0%); "
        "links: dangling_end 10 of 100 rows (10.0%)."
    )
    assert sentence([]) == ""


def test_the_sentence_names_shares_above_a_tenth_of_a_percent() -> None:
    losses = by_table(
        [
            *row_losses("one", "links", 1_000, {"dangling_end": 2}),
            *row_losses("one", "texts", 10_000, {"null_key": 10}),
        ]
    )
    assert sentence(losses) == (
        "Lost by table: links: dangling_end 2 of 1,000 rows (0.2%); and 1 smaller one."
    )
    assert sentence(losses[1:]) == ""
