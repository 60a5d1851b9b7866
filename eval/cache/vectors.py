"""Unit vectors of texts, each embedded once, and kept in a file if there is one."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from memos_assets.cache.calibration import EmbedsTexts, LabelledPair

_BATCH: Final = 64

Rows = npt.NDArray[np.float32]


class VectorsOfTexts:
    """Vectors of one model by text.

    Args:
        embedder: of the model.
        kept: an ``.npz`` file that vectors are read from and written to; None: nothing is kept.
    """

    def __init__(self, embedder: EmbedsTexts, kept: Path | None = None) -> None:
        self._embedder = embedder
        self._kept = kept
        self._vectors: dict[str, Rows] = {}
        if kept is not None and kept.exists():
            with np.load(kept, allow_pickle=False) as stored:
                if str(stored["model"]) == embedder.model:
                    texts = str(stored["texts"]).split("\0")
                    self._vectors = dict(zip(texts, stored["vectors"], strict=True))

    def of(self, texts: Sequence[str]) -> Rows:
        """Return unit vectors, shape (texts, dimension)."""
        self.embed(texts)
        return np.stack([self._vectors[text] for text in texts])

    def cosines(self, pairs: Sequence[LabelledPair]) -> npt.NDArray[np.float64]:
        """Return the cosine of every pair, shape (pairs,)."""
        ones, others = self.of([pair.a for pair in pairs]), self.of([pair.b for pair in pairs])
        found: npt.NDArray[np.float64] = np.einsum("ij,ij->i", ones, others, dtype=np.float64)
        return found

    def embed(self, texts: Iterable[str]) -> None:
        """Embed texts that have no vector yet; the shortest first, so that batches pad little."""
        missing = sorted(set(texts) - self._vectors.keys(), key=lambda text: (len(text), text))
        for start in range(0, len(missing), _BATCH):
            batch = missing[start : start + _BATCH]
            rows = self._embedder.embed(batch)
            unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
            self._vectors.update(zip(batch, unit.astype(np.float32), strict=True))
        if missing and self._kept is not None:
            self._kept.parent.mkdir(parents=True, exist_ok=True)
            np.savez(
                self._kept,
                model=np.array(self._embedder.model),
                texts=np.array("\0".join(self._vectors)),
                vectors=np.stack(list(self._vectors.values())),
            )
