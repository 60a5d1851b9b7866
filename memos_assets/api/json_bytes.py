"""JSON as it is sent: fast where orjson can, and whole where it cannot.

Values of boards are JSON of agents: their integers may have more than 64 bits.
"""

import json
from typing import Any

import orjson


def json_bytes(content: Any) -> bytes:
    """Return JSON; times are ISO 8601 with their zone."""
    try:
        return orjson.dumps(content, default=str, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError:
        return json.dumps(content, default=str).encode()
