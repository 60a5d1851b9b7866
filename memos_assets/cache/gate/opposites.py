"""Negations and opposites: which of two texts says that something is not so."""

from memos_assets.cache.gate.pair import Pair
from memos_assets.language.lexicon import Lexicon, Word
from memos_assets.language.reading import Reading
from memos_assets.language.relations import opposite, prefixed, same


def polarity(pair: Pair) -> str:
    """Both texts are negated, or neither."""
    if pair.asked.negated == pair.matched.negated:
        return ""
    negated, other = pair.asked, pair.matched
    if not negated.negated:
        negated, other = other, negated
    idioms = len(pair.lexicon.idioms.findall(negated.text))
    if _negations(negated, other, pair.lexicon) <= idioms:
        return ""
    if not pair.lexicon.like_negations.isdisjoint(other.stems - negated.stems):
        return ""
    if any(
        _either(mine, theirs, pair.lexicon)
        and _negated(pair.asked, mine) != _negated(pair.matched, theirs)
        for mine in pair.asked_only
        for theirs in pair.matched_only
    ):
        return ""
    return f"only the {'asked' if pair.asked.negated else 'matched'} text is negated"


def antonyms(pair: Pair) -> str:
    """A word is not answered by its opposite, from the list or by a prefix such as "un".

    But "not right" is answered by "wrong".
    """
    prefixes = pair.lexicon.prefixes
    one_negated = pair.asked.negated != pair.matched.negated
    for mine in pair.asked_only:
        for theirs in pair.matched_only:
            if (
                one_negated
                and _either(mine, theirs, pair.lexicon)
                and _negated(pair.asked, mine) != _negated(pair.matched, theirs)
            ):
                continue
            if mine.sides and theirs.sides and opposite(mine, theirs):
                return f"{mine.text!r} is the opposite of {theirs.text!r}"
            if mine.stem[-3:] == theirs.stem[-3:] and prefixed(mine.stem, theirs.stem, prefixes):
                return f"{mine.text!r} and {theirs.text!r} differ by a prefix that negates"
    return ""


def _negations(reading: Reading, other: Reading, words: Lexicon) -> int:
    """Count negations, those of a thing only where the other text has the thing."""
    count = 0
    for place, word in enumerate(reading.words):
        if not word.negation:
            continue
        thing = next((each for each in reading.words[place + 1 :] if each.content), None)
        if word.text not in words.negates_things or thing is None:
            count += 1
        else:
            count += any(same(thing, each) for each in other.words)
    return count


def _negated(reading: Reading, word: Word) -> bool:
    """Whether a negation is one of the three words before a word."""
    place = next((n for n, each in enumerate(reading.words) if each is word), 0)
    return any(each.negation for each in reading.words[max(0, place - 3) : place])


def _either(mine: Word, theirs: Word, words: Lexicon) -> bool:
    """Whether two words are opposites between which there is nothing."""
    if mine.either & theirs.either and opposite(mine, theirs):
        return True
    return mine.stem[-3:] == theirs.stem[-3:] and prefixed(mine.stem, theirs.stem, words.prefixes)
