"""Numbers as an array of a statement."""

from collections.abc import Iterable
from typing import Any, Final

import sqlalchemy as sa

BIGINTS: Final = sa.ARRAY(sa.BigInteger())


def bigints(numbers: Iterable[int]) -> sa.Cast[Any]:
    """Return an array; as text it takes a tenth of the time that a list of parameters takes."""
    text = "{" + ",".join(map(str, numbers)) + "}"
    return sa.cast(sa.literal(text, sa.Text()), BIGINTS)
