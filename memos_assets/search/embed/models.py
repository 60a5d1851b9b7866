"""Names of embedding models: equal names, instructions before a query, and the tables they fit."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from memos_assets.errors import UsageError

#: Family -> instruction of its authors before a query. Stored texts are embedded without, also by
#: memOS; its queries to qwen3-embedding have the instruction.
_INSTRUCTIONS = {
    "qwen3-embedding": (
        "Instruct: Given a web search query, retrieve relevant passages that answer the query\n"
        "Query:"
    ),
    "mxbai-embed-large": "Represent this sentence for searching relevant passages: ",
}

# In front of a size or version, and behind it: separators of Ollama's tags and of file names.
_SIZE = re.compile(r"(?<=-)(\d+(?:\.\d+)?[mb])(?=-|$)")
_VERSION = re.compile(r"(?<=-)v(\d+(?:\.\d+)*)(?=-|$)")
_PRECISION = re.compile(r"-(?:bf16|f16|fp16|f32|fp32|gguf|i?q\d\w*)(?=-|$)")


@dataclass(frozen=True, slots=True)
class ModelName:
    """A name taken apart: ``Qwen/Qwen3-Embedding-8B`` and ``qwen3-embedding:8b-q4_K_M`` are one."""

    family: str
    size: str | None
    version: str | None

    @classmethod
    def parse(cls, name: str) -> "ModelName":
        """Take a name apart, without its publisher, `latest` and the precision of weights.

        Weights of less precision give nearly the same vectors: the space is the same.
        """
        plain = name.strip().lower().rpartition("/")[2].replace(":", "-").removesuffix("-latest")
        plain = _PRECISION.sub("", plain)
        size, version = _SIZE.search(plain), _VERSION.search(plain)
        family = _VERSION.sub("", _SIZE.sub("", plain))
        return cls(
            re.sub("-{2,}", "-", family).strip("-"),
            size[1] if size else None,
            version[1] if version else None,
        )

    def matches(self, other: "ModelName") -> bool:
        """Whether both name one model: one family, and no size or version that both name differs.

        A name without a size is whatever its family serves by default. Sizes of one family have
        dimensions of their own, which are compared besides.
        """
        return self.family == other.family and all(
            mine is None or theirs is None or mine == theirs
            for mine, theirs in ((self.size, other.size), (self.version, other.version))
        )


def same_model(name: str, other: str) -> bool:
    """Whether two names are of one model, as `ModelName.matches` says."""
    return ModelName.parse(name).matches(ModelName.parse(other))


def as_query(model: str, text: str) -> str:
    """Return a query with the instruction of its model before it, where it has one."""
    return _INSTRUCTIONS.get(ModelName.parse(model).family, "") + text


def check_fit(
    table: str, models: Mapping[int, Sequence[str]], *, model: str, dimension: int
) -> None:
    """Refuse to search a table with vectors of a model that did not write it.

    Equal dimensions are not enough: 1,024 elements may be of mxbai-embed-large, bge-m3 or
    qwen3-embedding:0.6b, and a distance between two of them is noise that looks like an answer.

    Args:
        table: its name, for the message.
        models: dimension that can be searched -> models that wrote it; none named: not known, and
            the dimension alone decides.
        model: of the embedder.
        dimension: of the embedder's vectors.

    Raises:
        UsageError: M579.
    """
    if dimension not in models:
        known = dimensions(models)
        what = f"{model} gives {dimension:,} elements, and the table is searched by {known}"
    elif models[dimension] and not any(same_model(model, one) for one in models[dimension]):
        wrote = " or ".join(models[dimension])
        what = (
            f"the table's {dimension:,} elements are of {wrote}; those of {model} are as many and "
            "mean something else"
        )
    else:
        return
    raise UsageError("M579", what, where=table, fix=_fix(models, dimension))


def dimensions(models: Mapping[int, Sequence[str]]) -> str:
    """Return dimensions with their models: ``1,024 (bge-m3) or 4,096 (qwen3-embedding:8b)``."""
    return " or ".join(
        f"{dimension:,} ({', '.join(names)})" if names else f"{dimension:,}"
        for dimension, names in sorted(models.items())
    )


def _fix(models: Mapping[int, Sequence[str]], dimension: int) -> str:
    wanted = models.get(dimension) or [name for names in models.values() for name in names]
    name = wanted[0] if wanted else "MODEL"
    return (
        f"set MEMOS_EMBEDDER_MODEL={name}, or NAME={name} where your endpoint calls it NAME; "
        "or search by words (--mode text) or from a row (--like KEY)"
    )
