"""The samples that memOS's own classes wrote, and the demo with every kind of dirt, end to end."""

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.consolidate.claims import source_accounted_for, source_unchanged
from memos_assets.consolidate.forecast import forecast_file
from memos_assets.consolidate.pin import Pin
from memos_assets.demo import DemoManifest, write_demo
from memos_assets_tests.consolidate import builders as b

#: Source, table -> (rows, rejected, mirrored, embedding -> reason -> rows).
EXPECTED: dict[tuple[str, str], tuple[int, int, int, dict[str, int]]] = {}

#: Dirt that ends in the rejects: SQLite table or tables, class -> reason.
REJECTED = {
    "null_primary_keys": "null_key",
    "null_characters": "nul_character",
    "invalid_utf8": "invalid_utf8",
    "json_nan": "json_not_finite",
    "json_infinity": "json_not_finite",
    "json_null_character": "json_nul",
    "malformed_json": "json_malformed",
    "unreadable_timestamps": "timestamp_unreadable",
}
