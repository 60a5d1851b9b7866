"""The catalog that commands are about."""

from memos_assets.catalog import MEMOS, Catalog
from memos_assets.settings import Settings


def catalog_of(settings: Settings) -> Catalog:
    """Return memOS's catalog with the encodings that are declared in the settings."""
    return MEMOS.with_encodings(settings.declared_encodings)
