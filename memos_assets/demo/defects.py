"""Place each known defect of memOS's files on an exact number of rows."""

import json
import random
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from memos_assets.demo.classes import CLASSES, Rejected

JSON_KINDS = ("json_nan", "json_infinity", "json_null_character", "malformed_json")
TEXT_KINDS = ("null_characters", "invalid_utf8")

#: No reader can make an instant of these.
UNREADABLE_TIMES = ("yesterday", "2025-13-45 99:99:99", "", "0000-00-00 00:00:00")

#: A Latin-1 degree sign, half of a UTF-8 sequence, and two bytes that occur in no UTF-8.
INVALID_UTF8 = (b"motor at 80 \xb0C", b"alarm \xe2\x82", b"\xff\xfe overheated")


def share(rows: int, fraction: float, *, least: int = 1) -> int:
    """Return ``fraction`` of ``rows``, at least ``least``, so that small folders have it too."""
    return max(least, round(rows * fraction))


class DefectPlacement:
    """The rows of one table that carry a known defect, numbered from 0 in the order of their ids.

    Within one column a row carries at most one defect, so each count is the number of rows that
    carry the defect. A row carries at most one defect by which it is rejected or loses its
    embedding, so each of those counts is also the number that a load must report.
    """

    def __init__(self, seed: str) -> None:
        self.counts: dict[str, int] = {}
        # A seed gives the same files as ever, byte for byte, hence the former word in it.
        self._random = random.Random(f"{seed}/dirt")
        self._taken: dict[str, set[int]] = {}
        #: Rows that are rejected or lose their embedding.
        self._losing: set[int] = set()
        self.rejected: set[int] = set()

    def place(
        self, kind: str, column: str, candidates: Sequence[int], count: int
    ) -> frozenset[int]:
        """Choose ``count`` rows, none of which has another defect in ``column``, and count them."""
        defect = CLASSES[kind]
        taken = self._taken.setdefault(column, set())
        closed = taken | self._losing if defect.loses_data else taken
        pool = [index for index in candidates if index not in closed]
        chosen = frozenset(self._random.sample(pool, min(count, len(pool))))
        taken.update(chosen)
        if defect.loses_data:
            self._losing.update(chosen)
        if isinstance(defect.outcome, Rejected):
            self.rejected.update(chosen)
        self.note(kind, len(chosen))
        return chosen

    def place_kinds(
        self, kinds: Sequence[str], column: str, candidates: Sequence[int], count: int
    ) -> dict[int, str]:
        """Choose ``count`` rows for each of ``kinds``; return the kind of each chosen row."""
        return {
            index: kind
            for kind in kinds
            for index in sorted(self.place(kind, column, candidates, count))
        }

    def note(self, kind: str, count: int) -> None:
        """Add ``count`` rows to a defect; one without rows is not mentioned."""
        assert kind in CLASSES
        if count == 0:
            return
        self.counts[kind] = self.counts.get(kind, 0) + count


def json_with_defect(value: Mapping[str, object], kind: str | None) -> str:
    """Return ``json.dumps(value)`` as memOS writes it, with one known defect or none."""
    if kind == "json_nan":
        return json.dumps({**value, "score": float("nan")})
    if kind == "json_infinity":
        return json.dumps({**value, "score": float("inf")})
    if kind == "json_null_character":
        return json.dumps({**value, "note": "ocr\0artefact"})
    if kind == "malformed_json":
        # Even lengths were cut while being written, odd ones are the repr of a Python dict.
        text = json.dumps({**value, "note": "cut"})
        return text[:-3] if len(text) % 2 == 0 else repr({**value, "note": "cut"})
    return json.dumps(value)


def text_with_defect(text: str, kind: str | None) -> str:
    """Return ``text``, with NUL characters as optical recognition leaves them if so placed."""
    return f"{text} ocr\0artefact\f" if kind == "null_characters" else text


def invalid_texts(places: Mapping[int, str], rowids: Mapping[int, int]) -> dict[int, bytes]:
    """Return the invalid UTF-8 to store, by rowid; rows not in ``rowids`` are at index + 1."""
    indices = sorted(index for index, kind in places.items() if kind == "invalid_utf8")
    return {
        rowids.get(index, index + 1): INVALID_UTF8[order % len(INVALID_UTF8)]
        for order, index in enumerate(indices)
    }


def truncated(blob: bytes, index: int) -> bytes:
    """Cut a vector after an element so that its length is that of no dimension memOS knows."""
    return blob[: (len(blob) - 4, 1000)[index % 2]]


def torn(blob: bytes) -> bytes:
    """Cut a vector within its last element."""
    return blob[:-1]


def float32_with_defect(vector: npt.NDArray[np.float32], kind: str | None, index: int) -> bytes:
    """Return the float32 little-endian bytes of ``vector``, with one known defect or none."""
    if kind == "empty_vectors":
        return b""
    if kind == "zero_vectors":
        return bytes(4 * len(vector))
    if kind in ("nan_vectors", "infinite_vectors"):
        vector = vector.copy()
        vector[index % len(vector)] = np.nan if kind == "nan_vectors" else -np.inf
    blob = vector.astype("<f4").tobytes()
    if kind == "torn_vectors":
        return torn(blob)
    return truncated(blob, index) if kind == "truncated_vectors" else blob


def unreadable_time(placed: Collection[int], index: int, otherwise: str) -> str:
    """Return an unreadable text if the row was chosen for one, else the readable time."""
    return UNREADABLE_TIMES[index % len(UNREADABLE_TIMES)] if index in placed else otherwise
