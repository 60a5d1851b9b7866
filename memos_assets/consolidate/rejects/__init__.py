"""Rows that could not be loaded: listing, showing, exporting, and what people decided on them."""
