"""How two words are related: one meaning, opposites, two things of one kind."""

from collections.abc import Sequence

from memos_assets.language.lexicon import Word


def same(mine: Word, theirs: Word) -> bool:
    """Whether two words are one, are synonyms, or are two names of one thing."""
    if mine.stem == theirs.stem or mine.synonyms & theirs.synonyms:
        return True
    if mine.number and mine.number == theirs.number:
        return True
    return any(mine.kinds.get(kind) == name for kind, name in theirs.kinds.items())


def opposite(mine: Word, theirs: Word) -> bool:
    """Whether two words are on the two sides of a listed opposite, and on no common side of it."""
    both = {number for number, _ in mine.sides} & {number for number, _ in theirs.sides}
    return any(
        (number, 1 - side) in theirs.sides and (number, side) not in theirs.sides
        for number, side in mine.sides
        if number in both
    )


def prefixed(one: str, other: str, prefixes: Sequence[str]) -> bool:
    """Whether a word is another one with a prefix that turns it round, given their stems."""
    longer, shorter = (one, other) if len(one) > len(other) else (other, one)
    return longer.endswith(shorter) and longer[: len(longer) - len(shorter)] in prefixes


def common_kind(mine: Word, theirs: Word) -> str:
    """Return a kind that two words are different things of, "" without one."""
    for kind, name in theirs.kinds.items():
        if mine.kinds.get(kind, name) != name and not same(mine, theirs):
            return kind
    return ""
