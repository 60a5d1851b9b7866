"""When two texts say the same: NFKC, without regard to case and to runs of white space."""

import unicodedata


def normalised(text: str) -> str:
    """Return a text as it is compared: NFKC, without regard to case and to runs of white space."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split())
