"""Whether the answer to one text may be served for another: the verdict of a namespace's rules."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final, Protocol

from memos_assets.cache.gate.pair import Pair, Rule
from memos_assets.cache.gate.rules import RULES
from memos_assets.errors import AgentError
from memos_assets.language.lexicon import lexicon
from memos_assets.language.reading import Reading, language_of, normalised, read, tokens_of

#: Of texts that share this part of the words of the shorter one, one tells the other's language.
_SHARED: Final = 0.5
_DEFAULT: Final = "default"
_NAMESPACES: Final = Path(__file__).with_name("namespaces.toml")
#: Chunks between spaces, and characters of one, above which a text is served by exact match only:
#: rules compare the words of both texts, and what a chunk is, is kept.
_MOST_CHUNKS: Final = 300
_LONGEST_CHUNK: Final = 200
#: Texts that are kept as they were read, and characters of one: the same ones are asked and found
#: again and again, and reading them takes most of a verdict's time.
_KEPT_TEXTS: Final = 1_000
_LONGEST_KEPT: Final = 2_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says of two texts.

    Attributes:
        serve: the answer to the matched text answers the asked one.
        reason: why not, or which way they are alike; for people.
        rule: the rule that objected, "" if none did; to count misses by.
    """

    serve: bool
    reason: str
    rule: str = ""


@dataclass(frozen=True, slots=True)
class NamespaceRules:
    """The rules of a namespace.

    Attributes:
        name: of the namespace.
        rules: names of `RULES`, and "language", in the order in which they are asked.
        languages: with rules; a text in another one is served by exact match only.
        fresh_seconds: how old an entry may be that answers a text about now; 0: exact match only.
        slot_words: words that a replaced run of the slots rule may have on each side.
    """

    name: str
    rules: tuple[str, ...]
    languages: tuple[str, ...] = ("en", "de")
    fresh_seconds: float = 0.0
    slot_words: int = 0

    def __post_init__(self) -> None:
        """Refuse rules that do not exist: a rule that is not asked is a wrong answer served.

        Raises:
            AgentError: M794.
        """
        unknown = set(self.rules) - RULES.keys() - {"language"}
        if unknown:
            raise AgentError(
                "M794",
                f"the gate has no rule {', '.join(sorted(unknown))}",
                where=f"the rules of namespace {self.name}",
                fix=f"name rules of {', '.join(('language', *RULES))}",
            )


class Judge(Protocol):
    """A second opinion, such as of an LLM, on pairs that the rules would serve."""

    def __call__(self, asked: str, matched: str, /) -> bool:
        """Return whether the answer to `matched` answers `asked`."""


@cache
def rules_for(namespace: str) -> NamespaceRules:
    """Return the rules of a namespace, those of "default" for a namespace that has none."""
    written = _written()
    of_namespace: dict[str, Any] = dict(written.get(namespace, written[_DEFAULT]))
    return NamespaceRules(
        name=namespace,
        rules=tuple(of_namespace["rules"]),
        languages=tuple(of_namespace["languages"]),
        fresh_seconds=float(of_namespace["fresh_seconds"]),
        slot_words=int(of_namespace["slot_words"]),
    )


@cache
def _written() -> Mapping[str, Any]:
    return tomllib.loads(_NAMESPACES.read_text("utf-8"))


def judge(
    rules: NamespaceRules, asked: str, matched: str, *, age_seconds: float | None = None
) -> Verdict:
    """Say whether the answer to one text may be served for another.

    The verdict is a function of its arguments. Give it the winner of the search alone: "the first
    of k that passes" serves more wrong answers than no gate.

    Args:
        rules: of the namespace; see `rules_for`.
        asked: the text that is asked.
        matched: the text whose answer was found.
        age_seconds: how old that answer is; None: unknown, older than any limit.

    Returns:
        Served or not, with the reason.
    """
    mine, theirs = _prepared(asked), _prepared(matched)
    if mine.text == theirs.text:
        return Verdict(serve=True, reason="the texts are equal")
    if mine.long or theirs.long:
        return Verdict(serve=False, reason="a text is too long to compare", rule="length")
    language = _language(mine, theirs)
    if language is None or language not in rules.languages:
        return Verdict(
            serve=False, reason="the texts are not both in one language with rules", rule="language"
        )
    words = lexicon(language)
    one, other = mine.read(language), theirs.read(language)
    young = (
        rules.fresh_seconds > 0 and age_seconds is not None and age_seconds <= rules.fresh_seconds
    )
    pair = Pair(
        asked=one,
        matched=other,
        asked_only=[word for word in one.words if word.stem not in other.stems],
        matched_only=[word for word in other.words if word.stem not in one.stems],
        lexicon=words,
        fresh_enough=young,
        slot_words=rules.slot_words,
    )
    for name, rule in _asked(rules.rules):
        reason = rule(pair)
        if reason:
            return Verdict(serve=False, reason=reason, rule=name)
    return Verdict(serve=True, reason=_alike(one, other))


@cache
def _asked(names: tuple[str, ...]) -> tuple[tuple[str, Rule], ...]:
    return tuple((name, RULES[name]) for name in names if name != "language")


def judge_twice(
    rules: NamespaceRules,
    asked: str,
    matched: str,
    judge_of_caller: Judge | None,
    *,
    age_seconds: float | None = None,
) -> Verdict:
    """As `judge`; a judge of the caller has the last word on what the rules would serve.

    It fails closed: a judge that raises, times out by raising, or answers anything but True is a
    refusal. It cannot overrule the rules.
    """
    verdict = judge(rules, asked, matched, age_seconds=age_seconds)
    if not verdict.serve or judge_of_caller is None:
        return verdict
    try:
        agrees = judge_of_caller(asked, matched)
    except Exception as error:  # noqa: BLE001 - whatever a judge raises, nothing is served
        return Verdict(
            serve=False, reason=f"the judge failed: {type(error).__name__}", rule="judge"
        )
    if agrees is True:
        return verdict
    return Verdict(serve=False, reason="the judge refused", rule="judge")


class _Prepared:
    """A text, split and read once.

    Attributes:
        text: normalised.
        chunks: of it, between spaces.
        long: it is too long to be compared.
        language: with rules, that it is in; None: of none, or too long.
    """

    __slots__ = ("_readings", "chunks", "language", "long", "text")

    def __init__(self, text: str) -> None:
        self.text = normalised(text)
        self.chunks: Sequence[str] = self.text.split()
        self.long = (
            len(self.chunks) > _MOST_CHUNKS
            or len(max(self.chunks, key=len, default="")) > _LONGEST_CHUNK
        )
        self.language = None if self.long else language_of(self.chunks)
        self._readings: dict[str, Reading] = {}

    def read(self, language: str) -> Reading:
        """Return the reading in a language."""
        found = self._readings.get(language)
        if found is None:
            found = read(self.text, self.chunks, lexicon(language))
            self._readings[language] = found
        return found


_kept = lru_cache(maxsize=_KEPT_TEXTS)(_Prepared)


def _prepared(text: str) -> _Prepared:
    return _kept(text) if len(text) <= _LONGEST_KEPT else _Prepared(text)


def _language(mine: _Prepared, theirs: _Prepared) -> str | None:
    """Return the language of both texts; a text without function words takes the other's."""
    one, other = mine.language, theirs.language
    if one == other:
        return one
    if one is not None and other is not None:
        return None
    known, unknown = (mine, theirs) if one else (theirs, mine)
    tokens = tokens_of(unknown.chunks)
    shared = set(tokens_of(known.chunks)).intersection(tokens)
    return (one or other) if tokens and len(shared) >= _SHARED * len(set(tokens)) else None


def _alike(one: Reading, other: Reading) -> str:
    shared = len(one.stems & other.stems)
    return f"{shared} of {len(one.stems | other.stems)} words are common, no rule objects"
