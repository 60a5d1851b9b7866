"""Parts of a long text, each short enough for its model: a model cuts what is too long, silently.

A part ends at the end of a paragraph, else of a sentence, else of a word, else anywhere. No
character is left out but white space between parts.
"""

import re

#: Model -> the word pieces that it reads of one text; longer texts are cut by it.
_READS = {
    "all-minilm": 256,
    "mxbai-embed-large": 512,
    "bge-m3": 8_192,
    "nomic-embed-text": 2_048,
}
#: Of a model that is not known: the least that is usual.
_READS_AT_LEAST = 256
#: Of what a model reads, the share that is used: pieces are estimated.
_SHARE = 0.8

#: Runs that a tokenizer treats alike: letters of English, white space, and anything else.
_RUNS = re.compile(r"[A-Za-z]+|\s+|[^A-Za-z\s]")
#: Ends of a paragraph, a sentence, a word, best first.
_ENDS = (
    re.compile(r"\n\s*\n"),
    re.compile(r"(?<=[.!?…。！？])[\"'”’)\]]*\s+|\n"),  # noqa: RUF001
    re.compile(r"\s+"),
)


def budget(model: str) -> float:
    """Return the estimated word pieces that one part may have for a model, by its name."""
    name = model.casefold()
    reads = next((n for known, n in _READS.items() if known in name), _READS_AT_LEAST)
    return reads * _SHARE


def pieces(text: str) -> float:
    """Estimate the word pieces of a text; more than tokenizers of BERT's kind make of prose.

    One for each four letters of a word, and one for each character that is neither a letter of
    English nor white space.
    """
    return sum(map(_pieces_of, _RUNS.findall(text)))


def _pieces_of(run: str) -> int:
    if run[0].isspace():
        return 0
    return -(-len(run) // 4) if run[0].isascii() and run[0].isalpha() else 1


def split(text: str, model: str) -> list[tuple[int, int]]:
    """Return (start, stop) of each part of a text, in its order.

    Args:
        text: not empty.
        model: by its name; it decides how long a part may be.

    Returns:
        Offsets in characters. One part where the text is short enough.
    """
    most = budget(model)
    parts: list[tuple[int, int]] = []
    start = 0
    while start < len(text):
        limit = _reach(text, start, most)
        stop = limit if limit == len(text) else _end(text, start, limit)
        if text[start:stop].strip():
            parts.append((start, stop))
        start = stop
    return parts


def tail(text: str, model: str, room: float) -> str:
    """Return the end of a text that fits beside another one of a model.

    Args:
        text: of which the end is wanted.
        model: by its name.
        room: estimated pieces that the other one takes.
    """
    left = budget(model) - room
    start = len(text)
    for match in reversed(list(_RUNS.finditer(text))):
        left -= _pieces_of(match[0])
        if left < 0:
            break
        start = match.start()
    return text[start:].lstrip()


def _reach(text: str, start: int, most: float) -> int:
    """Return the offset up to which a part may go."""
    left = most
    for match in _RUNS.finditer(text, start):
        cost = _pieces_of(match[0])
        if cost > left:
            # A word longer than a whole part is divided.
            return match.start() if match.start() > start else start + max(1, int(left) * 4)
        left -= cost
    return len(text)


def _end(text: str, start: int, limit: int) -> int:
    """Return the best end of a part within its limit, in its second half where there is one."""
    for pattern in _ENDS:
        ends = [m.end() for m in pattern.finditer(text, start, limit + 1)]
        ends = [end for end in ends if start + (limit - start) // 2 < end <= limit]
        if ends:
            return ends[-1]
    return limit
