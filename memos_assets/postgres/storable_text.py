"""Text that PostgreSQL can hold."""


def storable_text(text: str) -> str:
    """Return a text without NUL, and without halves of surrogate pairs: no row holds either."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode()


def is_storable(text: object) -> bool:
    """Whether something is text that PostgreSQL can hold: no NUL, no half of a surrogate pair."""
    if not isinstance(text, str) or "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
