"""What a question asks for: how, why, who, an amount, or yes or no."""

from collections.abc import Sequence

from memos_assets.cache.gate.pair import Pair
from memos_assets.language.lexicon import Lexicon, Word
from memos_assets.language.reading import Reading


def question(pair: Pair) -> str:
    """ "How", "why", "who", "when" and amounts ask for different things about the same."""
    asked = _asked(pair)
    return "" if asked in pair.lexicon.near else _apart(asked, pair.lexicon)


def aspect(pair: Pair) -> str:
    """Nearer questions, such as whether and how, have different answers all the same."""
    asked = _asked(pair)
    return _apart(asked, pair.lexicon) if asked in pair.lexicon.near else ""


def _asked(pair: Pair) -> tuple[str, str]:
    for reading in (pair.asked, pair.matched):
        if reading.asks is None:
            reading.asks = _asks(reading, pair.lexicon)
    return pair.asked.asks or "", pair.matched.asks or ""


def _apart(asked: tuple[str, str], words: Lexicon) -> str:
    return f"one asks {asked[0]}, the other {asked[1]}" if asked in words.apart else ""


def _asks(reading: Reading, words: Lexicon) -> str:
    """Return what a question asks for, "" if it is not one."""
    first = ""
    for place, word in enumerate(reading.words):
        asks = words.questions.get(word.text)
        if asks is None:
            continue
        if place and word.text in words.joins and _joins(reading.words, place, words):
            continue
        if not place and asks in ("yes", "what"):
            for beginning, said in words.begins.items():
                if reading.text.startswith(beginning):
                    return said
        if asks != "yes":
            two = reading.words[place : place + 2]
            return words.questions.get(" ".join(each.text for each in two), asks)
        first = first or ("yes" if place == 0 else "")
    return first


def _joins(all_words: Sequence[Word], place: int, words: Lexicon) -> bool:
    """Whether a word such as "when" joins two sentences, and asks nothing."""
    after = all_words[place + 1].text if place + 1 < len(all_words) else ""
    return words.questions.get(after) != "yes" and all_words[place - 1].text not in words.asks_after
