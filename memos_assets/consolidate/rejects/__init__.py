"""Rows that could not be loaded: listing, showing, exporting, and decisions about them."""
