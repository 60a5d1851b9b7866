"""Detectors: a statement and its negation; "never" against something that was."""

from collections.abc import Sequence
from typing import Final

from memos_assets.contradictions.alignment import Found, Pair, one_person, quoted
from memos_assets.contradictions.clause import Clause
from memos_assets.contradictions.values import DATE, WEEKDAY

#: Share of the words of an asserted sentence that its negation has.
_COVERED: Final = 0.5
_ALTERNATIVE: Final = frozenset({"or", "nor"})
#: What comes after these is no longer ruled out.
_ENDS: Final = frozenset({"and", "but", "then"})
_MINE: Final = frozenset({"i", "we"})
_BEEN: Final = frozenset({"been", "done", "had"})
#: Kinds of people: "my sister" is not "I".
_PEOPLE: Final = frozenset({"relative", "occupation", "familie"})
#: Groups of verbs whose one object tells enough: one has been there, or has met somebody.
_TELLING: Final = frozenset({"going", "meeting", "using"})


def negation(pair: Pair) -> Found | None:
    """One sentence negates all that it says, and the other one says all of that."""
    if pair.one.negated == pair.other.negated:
        return None
    if pair.other.negated:
        found = negation(pair.turned())
        return found and found.turned()
    negated, asserted = pair.one, pair.other
    if pair.only_one or not pair.matched or _values_differ(pair):
        return None
    enough = max(min(2, len(asserted.content)), _COVERED * len(asserted.content))
    if pair.shared < enough and not _said_of_it(pair):
        return None
    if negated.never >= 0 and pair.shared < 3 and _points(negated):
        return None
    if (
        not _says_something(negated)
        or _other_tense(pair)
        or _other_time(pair)
        or not _of_one_subject(pair)
    ):
        return None
    at = negated.negations[0]
    certain = 0.95 if not pair.only_other else 0.85 if len(pair.only_other) == 1 else 0.75
    mine = (at, *[n for n in pair.matched if n > at][:3])
    theirs = tuple(pair.matched[n] for n in mine[1:]) or tuple(pair.matched.values())
    return Found(
        "never" if negated.never >= 0 else "negation",
        certain,
        mine,
        theirs,
        f"{quoted(negated, mine)} denies what {quoted(asserted, theirs)} says",
    )


def _of_one_subject(pair: Pair) -> bool:
    """Whether what is denied of somebody is said of the same one, and of the same thing."""
    negated = pair.one
    at = negated.negations[0]
    about_all = negated.tokens[at].word.text in negated.lists.nobody
    determiner = _is_determiner(negated, at)
    if about_all or determiner:
        if negated.people - pair.other.people:
            return False
    # "X is not enabled" and "I enabled X": who did it is not said in the first.
    elif not one_person(pair) and (negated.person or negated.copula < 0 or pair.shared < 3):
        return False
    if not about_all and not (determiner and negated.scene) and _other_subject(pair, at):
        return False
    return determiner or not _narrower(pair)


def _other_tense(pair: Pair) -> bool:
    """Whether one says how something was, and the other how it is."""
    tenses = [
        clause.tokens[clause.copula].word.text in clause.lists.past
        for clause in (pair.one, pair.other)
        if clause.copula >= 0
    ]
    return len(tenses) == 2 and tenses[0] != tenses[1] and pair.one.never < 0


def _other_time(pair: Pair) -> bool:
    """Whether what is denied of now, or since a day, is said of a time that is over or to come."""
    now, then = pair.one, pair.other
    if now.never >= 0 or now.lists.present.isdisjoint(now.words):
        return False
    if now.words & now.lists.past:
        return False
    if then.words & then.lists.ongoing:
        return False
    days = any(v.kind == DATE or (v.kind == WEEKDAY and not v.unit) for v in then.values)
    return not then.lists.over.isdisjoint(then.words - now.words) or days


def _said_of_it(pair: Pair) -> bool:
    """Whether one word is said, and denied, of the person who speaks: "I am vegetarian"."""
    if pair.shared != 1 or pair.one.person in ("", "it"):
        return False
    places = (pair.one, min(pair.matched)), (pair.other, min(pair.matched.values()))
    return all(
        any(clause.tokens[n].word.text in clause.lists.copula for n in range(max(at - 3, 0), at))
        for clause, at in places
    )


def _says_something(clause: Clause) -> bool:
    """Whether a sentence has a verb or a thing, and is not "Oh no, Jon!"."""
    if clause.verb >= 0 or clause.person:
        return True
    named = clause.lists.lexicon.capitals
    return sum(not (named and clause.tokens[n].name) for n in clause.content) >= 2


def _is_determiner(clause: Clause, at: int) -> bool:
    return clause.tokens[at].word.text in clause.lists.lexicon.negates_things


def _values_differ(pair: Pair) -> bool:
    return any(
        not any(
            not mine.conflicts(theirs) and mine.kind == theirs.kind for theirs in pair.other.values
        )
        for mine in pair.one.values
    )


def _other_subject(pair: Pair, at: int) -> bool:
    """Whether the asserted sentence says of somebody else what the negation denies."""
    after = [n for n in pair.matched if n > at]
    if not after:
        return False
    verb = pair.matched[min(after)]
    return any(
        n < verb for n in pair.only_other if not pair.other.tokens[n].word.text.endswith("ly")
    )


def _narrower(pair: Pair) -> bool:
    """Whether the last word denied is part of another thing: "meat" in "meat substitute"."""
    last = pair.matched[max(pair.matched)]
    clause = pair.other
    following = last + 1
    if last != max(pair.matched.values()) or pair.one.scene:
        return False
    return (
        following in pair.only_other
        and clause.tokens[following].start - clause.tokens[last].end == 1
        and not clause.tokens[following].word.number
        and not clause.tokens[following].word.text.endswith(("ly", "ing", "ed"))
        and clause.lists.lexicon.name == "en"
    )


def never(pair: Pair) -> Found | None:
    """One sentence says that something never was, the other that it is, was, or is being done."""
    if pair.one.never < 0 and pair.other.never >= 0:
        found = never(pair.turned())
        return found and found.turned()
    if pair.one.never < 0 or pair.other.negated:
        return None
    if not _one_speaker(pair):
        return None
    best: tuple[float, list[int]] = (0.0, [])
    for verb, objects in _alternatives(pair.one):
        best = max(best, _contained(pair, verb, objects))
    score, places = best
    if not score:
        return None
    mine = (pair.one.never, *places)
    theirs = tuple(sorted(pair.matched[n] for n in places if n in pair.matched))
    return Found(
        "never",
        score,
        mine,
        theirs,
        f"{quoted(pair.one, mine)} rules out any time, and {quoted(pair.other, theirs)} is said",
    )


def _one_speaker(pair: Pair) -> bool:
    mine, theirs = pair.one, pair.other
    if mine.speaker and theirs.speaker and mine.speaker != theirs.speaker:
        return False
    if mine.person in _MINE:
        if not theirs.people & _MINE:
            return pair.one_subject
        return _speaks(theirs)
    return one_person(pair) and not any(
        mine.tokens[n].name and n < mine.never for n in pair.only_one
    )


def _speaks(clause: Clause) -> bool:
    """Whether "I" or "we" is a part of what is said: not "my sister visited Rome"."""
    if not clause.lists.subjects.isdisjoint(clause.words):
        return True
    for place, token in enumerate(clause.tokens):
        if clause.lists.person.get(token.word.text) in _MINE:
            owned = next((clause.tokens[n].word for n in clause.content if n > place), None)
            return owned is None or not (
                owned.kinds.keys() & _PEOPLE or owned.stem in clause.lists.roles
            )
    return False


def _alternatives(clause: Clause) -> list[tuple[int, list[int]]]:
    """Return (verb, things) that never were: the words after "never", split at "or"."""
    if clause.lists.lexicon.name == "de":
        return [_german(clause)]
    found: list[list[int]] = [[]]
    for place in range(clause.never + 1, len(clause.tokens)):
        token = clause.tokens[place]
        if token.word.text in _ENDS:
            break
        if token.word.text in _ALTERNATIVE:
            found.append([])
        elif place in clause.content or (token.word.text in _BEEN and not found[-1]):
            found[-1].append(place)
    found = [words for words in found if words]
    split = [(words[0], words[1:]) for words in found]
    # "never written any Flask routes or handlers": the verb is of both.
    return split + [(found[0][0], words) for words in found[1:]]


def _german(clause: Clause) -> tuple[int, list[int]]:
    """Return the verb, which is last or beside the subject, and all other words."""
    verbs = [
        n
        for n, token in enumerate(clause.tokens)
        if token.word.stem in clause.lists.verbs
        or (token.word.text.startswith("ge") and n in clause.content)
    ]
    verb = verbs[-1] if verbs else (clause.content[-1] if clause.content else clause.never)
    return verb, [n for n in clause.content if n != verb]


def _contained(pair: Pair, verb: int, objects: Sequence[int]) -> tuple[float, list[int]]:
    """Return how certainly the other sentence says an alternative, and its words."""
    mine, theirs = pair.one, pair.other
    group = mine.lists.verbs.get(mine.tokens[verb].word.stem, frozenset())
    exact = verb in pair.matched
    common = {
        name
        for token in theirs.tokens
        if token.value < 0
        for name in group & theirs.lists.verbs.get(token.word.stem, frozenset())
    }
    near = exact or bool(common)
    if len(objects) < 2 and _points(mine):
        return 0.0, []
    told = [n for n in objects if mine.tokens[n].word.stem not in mine.lists.generic]
    here = [n for n in told if n in pair.matched]
    capitals = mine.lists.lexicon.capitals
    names = [n for n in here if capitals and mine.tokens[n].name]
    if any(capitals and mine.tokens[n].name and n not in pair.matched for n in told):
        return 0.0, []
    if not told:
        # "I have never smoked": the verb has to be what the other sentence is about.
        if exact and not objects and _predicate(theirs, pair.matched[verb]):
            return 0.8, [verb]
        return 0.0, []
    cover = len(here) / len(told)
    shown = [verb, *here] if exact else here
    if exact and cover == 1.0:
        return 0.9, shown
    if exact and cover >= 0.6 and len(here) >= 2:
        return 0.75, shown
    telling = bool(common & _TELLING)
    if near and cover == 1.0 and (len(here) >= 2 or names or telling):
        return 0.8, shown
    if near and cover >= 0.66 and len(here) >= 2:
        return 0.65, shown
    if cover == 1.0 and len(here) >= 2 and (len(here) >= 3 or names or not capitals):
        return 0.65, shown
    return 0.0, []


def _points(clause: Clause) -> bool:
    """Whether what never was is "that", "it" or "such a ...": something that was said before."""
    after = clause.tokens[clause.never + 1 :]
    return any(token.word.text in clause.lists.pointing for token in after)


def _predicate(clause: Clause, place: int) -> bool:
    """Whether a word is the verb of the first pronoun."""
    if clause.lists.lexicon.name == "de" and place == clause.content[-1]:
        return True
    before = clause.tokens[place - 1].word.text if place else ""
    return before in clause.lists.person or before in clause.lists.auxiliary
