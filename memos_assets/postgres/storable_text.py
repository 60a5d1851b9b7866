"""Text that PostgreSQL can hold."""


def storable_text(text: str) -> str:
    """Return a text without NUL, and without halves of surrogate pairs: no row holds either."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode()
