"""The rules: each looks at two readings and returns why one does not answer the other, or "".

A rule sees the text that is asked and the text whose answer was found, and nothing else: no
similarity, no clock, no other entry. Words are data, of room `language`; rules say what is done
with them.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from memos_assets.cache.gate.opposites import antonyms, polarity
from memos_assets.cache.gate.pair import Pair, Rule
from memos_assets.cache.gate.questions import aspect, question
from memos_assets.language.lexicon import Lexicon, Word
from memos_assets.language.reading import Reading
from memos_assets.language.relations import common_kind, same


def acts(pair: Pair) -> str:
    """An action is done again, not answered with what the last one returned."""
    words = pair.lexicon
    for reading in (pair.asked, pair.matched):
        if not reading.words or reading.words[0].text.partition(" ")[0] not in words.act_heads:
            continue
        found = words.act.match(reading.text)
        if found:
            return f"{found[0].strip()!r} asks for an action"
    return ""


def freshness(pair: Pair) -> str:
    """What is asked about now has another answer soon."""
    if pair.fresh_enough:
        return ""
    for reading in (pair.asked, pair.matched):
        if not reading.fresh:
            continue
        words = pair.lexicon
        found = words.fresh.search(reading.text)
        if found is None and not _tells(reading, words):
            found = words.moment.search(words.no_moment.sub(" ", reading.text))
        if found is None and words.values.search(reading.text):
            found = words.topics.search(reading.text)
        if found:
            return f"{found[0]!r} asks for what is true now"
    return ""


def numbers(pair: Pair) -> str:
    """Amounts, years, counts and places in an order are equal as sets; "one" may be left out."""
    one, other = pair.asked, pair.matched
    if (mine := one.signs) != (theirs := other.signs):
        return f"{' '.join(mine) or 'no sign'} asked, {' '.join(theirs) or 'no sign'} matched"
    if one.numbers == other.numbers and not (one.weak or other.weak):
        return ""
    missing = one.numbers - other.numbers - other.weak
    added = other.numbers - one.numbers - one.weak
    if missing or added:
        return _differ(missing, added)
    missing, added = one.weak - other.weak, other.weak - one.weak
    return _differ(missing, added) if missing and added else ""


def units(pair: Pair) -> str:
    """A value that both texts have is of one unit."""
    theirs = pair.matched.units
    for value, of_asked in pair.asked.units.items():
        of_matched = theirs.get(value)
        if of_matched and of_matched != of_asked:
            return f"{value} is in {_shown(of_asked)}, and there in {_shown(of_matched)}"
    return ""


def identifiers(pair: Pair) -> str:
    """Codes, versions and addresses are equal as sets: one digit makes another thing."""
    if pair.asked.identifiers == pair.matched.identifiers:
        return ""
    return _differ(
        pair.asked.identifiers - pair.matched.identifiers,
        pair.matched.identifiers - pair.asked.identifiers,
    )


def names(pair: Pair) -> str:
    """A name is not answered by another name; names of one thing are synonyms."""
    one = pair.asked.names - pair.matched.stems
    other = pair.matched.names - pair.asked.stems
    if not one or not other:
        return ""
    for mine in pair.asked_only:
        if mine.stem in one and not any(same(mine, theirs) for theirs in pair.matched_only):
            return _differ(one, other)
    return ""


def kinds(pair: Pair) -> str:
    """Two things of one kind (two colours, two countries, two accounts) exclude one another."""
    for mine in pair.asked_only:
        if not mine.kinds:
            continue
        for theirs in pair.matched_only:
            if kind := common_kind(mine, theirs):
                return f"{mine.text!r} and {theirs.text!r} are each a {kind}"
    return ""


def direction(pair: Pair) -> str:
    """From A to B is not from B to A, and the subject is not the object."""
    one, other = pair.asked, pair.matched
    forth, back = _arrows(one, pair.lexicon), _arrows(other, pair.lexicon)
    for start, end in forth:
        if (end, start) in back and (start, end) not in back:
            return f"from {start!r} to {end!r} in the asked text, the other way in the matched one"
    if pair.lexicon.cases and (reason := _recast(one, other, pair.lexicon.cases)):
        return reason
    if one.stems == other.stems and not pair.asked_only:
        return _swapped(one, other, pair.lexicon)
    return ""


def additions(pair: Pair) -> str:
    """A text that says all of the other and a place, a purpose or a name more asks for less."""
    mine, theirs = _unmatched(pair.asked_only, pair.matched_only)
    if (mine and theirs) or not (mine or theirs):
        return ""
    longer = pair.asked if mine else pair.matched
    added = {word.stem for word in mine or theirs if not word.light}
    if not added:
        return ""
    prepositions, symbols = pair.lexicon.prepositions, longer.symbols
    last = len(symbols) - 1
    for place, word in enumerate(symbols):
        if word.stem not in added or word.number or word.unit:
            continue
        before = symbols[place - 1] if place else None
        if (
            word.stem in longer.names
            or (place == last and pair.lexicon.capitals)
            or (before is not None and (before.number or before.text in prepositions))
            or (place > 1 and symbols[place - 2].text in prepositions)
        ):
            return f"{word.text!r} is only in the {'asked' if mine else 'matched'} text"
    return ""


def slots(pair: Pair) -> str:
    """One run of words replaced by another: served if they are synonyms."""
    one, other = _compared(pair.asked), _compared(pair.matched)
    if not _overlap(one, other):
        return "no word with content is common"
    start = 0
    while start < min(len(one), len(other)) and one[start].stem == other[start].stem:
        start += 1
    end = 0
    while end < min(len(one), len(other)) - start and one[-1 - end].stem == other[-1 - end].stem:
        end += 1
    mine, theirs = one[start : len(one) - end], other[start : len(other) - end]
    if not mine or not theirs or not (start or end):
        return ""
    if not any(word.content for word in (*mine, *theirs)):
        return ""
    if sorted(word.stem for word in mine) == sorted(word.stem for word in theirs):
        return ""
    if max(len(mine), len(theirs)) > pair.slot_words or _synonymous(mine, theirs, pair.lexicon):
        return ""
    return f"{_phrase(mine)!r} and {_phrase(theirs)!r} are not known to mean the same"


#: Name -> rule, as `namespaces.toml` names them; "language" is decided before the others.
RULES: Final[dict[str, Rule]] = {
    rule.__name__: rule
    for rule in (
        *(acts, freshness, numbers, units, identifiers, polarity),
        *(antonyms, kinds, names, direction, question, additions, aspect, slots),
    )
}


def _tells(reading: Reading, words: Lexicon) -> bool:
    """Whether a person tells what happened to them."""
    if not reading.words or reading.words[0].text not in words.tellers:
        return False
    return words.wishes.isdisjoint(word.text for word in reading.words)


def _unmatched(one: Sequence[Word], other: Sequence[Word]) -> tuple[list[Word], list[Word]]:
    """Return the words with content of each that stand for none of the other."""
    mine, theirs = ([word for word in each if word.content] for each in (one, other))
    if not mine or not theirs:
        return mine, theirs
    return (
        [word for word in mine if not any(same(word, each) for each in other)],
        [word for word in theirs if not any(same(word, each) for each in one)],
    )


def _differ(missing: Iterable[str], added: Iterable[str]) -> str:
    ours, theirs = _shown(missing), _shown(added)
    if ours and theirs:
        return f"{ours} asked, {theirs} matched"
    if ours or theirs:
        return f"{ours or theirs} is only in the {'asked' if ours else 'matched'} text"
    return ""


def _shown(values: Iterable[str]) -> str:
    return ", ".join(sorted(values))


def _compared(reading: Reading) -> list[Word]:
    """Return what the slots rule compares: all but articles, auxiliaries and pronouns."""
    return [word for word in reading.symbols if word.content or word.sides or word.synonyms]


def _overlap(one: Sequence[Word], other: Sequence[Word]) -> bool:
    stems = {word.stem for word in other if word.content}
    if any(word.stem in stems for word in one if word.content):
        return True
    return any(same(a, b) for a in one if a.content for b in other if b.content)


def _synonymous(mine: Sequence[Word], theirs: Sequence[Word], words: Lexicon) -> bool:
    if len(mine) == len(theirs):
        return all(same(one, other) for one, other in zip(mine, theirs, strict=True))
    return same(words.word(_phrase(mine)), words.word(_phrase(theirs)))


def _phrase(run: Sequence[Word]) -> str:
    return " ".join(word.text for word in run)


def _arrows(reading: Reading, words: Lexicon) -> set[tuple[str, str]]:
    """Return (from, to) of every "A to B" and "from A to B", by the nearest content words."""
    if words.arrows.isdisjoint(reading.stems):
        return set()
    found = set()
    symbols = reading.symbols
    for place, word in enumerate(symbols):
        if word.text in words.arrows:
            before = next((w for w in reversed(symbols[:place]) if w.content), None)
            after = next((w for w in symbols[place + 1 :] if w.content), None)
            if before and after:
                found.add((before.stem, after.stem))
    for place, word in enumerate(symbols):
        if word.text in words.origins:
            origin = next((w for w in symbols[place + 1 :] if w.content), None)
            for at, target in enumerate(symbols):
                if origin and target.text in words.arrows:
                    end = next((w for w in symbols[at + 1 :] if w.content), None)
                    if end and end.stem != origin.stem:
                        found.add((origin.stem, end.stem))
    return found


def _recast(one: Reading, other: Reading, cases: frozenset[str]) -> str:
    """Return how the same words in the same order have other parts: who bites, and whom."""
    mine, theirs = (
        [word.text for word in each.symbols if word.text in cases] for each in (one, other)
    )
    if mine == theirs or len(mine) != len(theirs):
        return ""
    same = [[word.stem for word in each.symbols if word.content] for each in (one, other)]
    return f"{mine} and {theirs} tell subject and object" if same[0] == same[1] else ""


def _swapped(one: Reading, other: Reading, words: Lexicon) -> str:
    """Return what is wrong with two texts of the same words in another order."""
    mine = [word for word in one.symbols if word.content]
    theirs = [word for word in other.symbols if word.content]
    if len(mine) != len(theirs):
        return ""
    places = [n for n, (a, b) in enumerate(zip(mine, theirs, strict=True)) if a.stem != b.stem]
    if len(places) < 2 or len(places) % 2:
        return ""
    half = len(places) // 2
    first, second = places[:half], places[half:]
    for a, b in zip(first, second, strict=True):
        if mine[a].stem != theirs[b].stem or mine[b].stem != theirs[a].stem:
            return ""
    between = {
        word.text
        for word in one.symbols[
            one.symbols.index(mine[first[-1]]) : one.symbols.index(mine[second[0]])
        ]
        if not word.content
    }
    if between & words.symmetric or (second[0] == first[-1] + 1 and not between):
        return ""
    swapped = _phrase([mine[n] for n in first]), _phrase([mine[n] for n in second])
    return f"{swapped[0]!r} and {swapped[1]!r} have changed places"
