"""SQLite files as files: opening, errors, locks, and rows as bytes; nothing here knows memOS."""
