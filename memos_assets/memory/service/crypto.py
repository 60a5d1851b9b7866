"""Keys of memOS's encrypted memories: what memOS wrote is read, and its format is kept.

Source: the memOS server, core/encryption_service.py: a Fernet token as ASCII bytes; the key is
derived from ``MEMOS_ENCRYPTION_KEY`` by PBKDF2-HMAC-SHA256, 100,000 rounds, with a constant salt.
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from memos_assets.errors import AgentError
from memos_assets.settings import Settings

_ROUNDS = 100_000
_KEY_BYTES = 32
_WHERE = "MEMOS_MEMORY_KEYS"


@dataclass(frozen=True, slots=True)
class NamedKey:
    """A key, and what people call it: the variable and the place of the key in it."""

    name: str
    fernet: Fernet


class KeyRing:
    """Keys in the order in which they are tried; the first one encrypts."""

    def __init__(self, keys: Sequence[NamedKey]) -> None:
        """Take one key or more.

        Args:
            keys: the newest first.

        Raises:
            AgentError: M740 there is none.
        """
        if not keys:
            raise AgentError(
                "M740",
                "there is no key, and the content of memories is encrypted",
                where="MEMOS_ENCRYPTION_KEY",
                fix="set MEMOS_ENCRYPTION_KEY to the passphrase that memOS has, or "
                "MEMOS_MEMORY_KEYS to Fernet keys",
            )
        self.keys = tuple(keys)
        self._all = MultiFernet([key.fernet for key in keys])

    def __repr__(self) -> str:
        """Name the keys, without their values."""
        return f"KeyRing({', '.join(key.name for key in self.keys)})"

    def encrypt(self, text: str) -> bytes:
        """Return the token of a text by the first key; memOS reads it if it has this key."""
        return self._all.encrypt(text.encode())

    def decrypt(self, token: bytes, *, memory: object) -> str:
        """Return the text of a token, "" for what memOS stored of an empty text.

        Args:
            token: ``encrypted_content`` of a row.
            memory: id of the row, for the message.

        Raises:
            AgentError: M741 no key decrypts it.
        """
        if not token:
            return ""
        try:
            return self._all.decrypt(bytes(token)).decode()
        except (InvalidToken, UnicodeDecodeError):
            raise lost_key(memory) from None

    def key_of(self, token: bytes) -> int | None:
        """Return the place of the key that decrypts a token, counted from 0; None: no key does."""
        for place, key in enumerate(self.keys):
            try:
                key.fernet.decrypt(bytes(token))
            except InvalidToken:
                continue
            return place
        return None

    def rotate(self, token: bytes) -> bytes:
        """Return the same text and time as a token of the first key.

        Raises:
            cryptography.fernet.InvalidToken: no key decrypts it.
        """
        return self._all.rotate(bytes(token))


def key_ring(settings: Settings) -> KeyRing:
    """Return the keys of the environment: ``MEMOS_MEMORY_KEYS`` in their order, then memOS's.

    Raises:
        AgentError: M740 there is no key; M742 one is not a Fernet key. No value is shown.
    """
    keys = [
        NamedKey(f"key {place} of {_WHERE}", _fernet(text, place))
        for place, text in enumerate(_listed(settings), 1)
    ]
    if settings.encryption_key is not None:
        passphrase = settings.encryption_key.get_secret_value()
        derived = _derived(passphrase, settings.encryption_salt)
        keys.append(NamedKey("MEMOS_ENCRYPTION_KEY", Fernet(derived)))
    return KeyRing(keys)


def lost_key(memory: object) -> AgentError:
    """Return M741: no key decrypts a row, which is named by its id alone."""
    return AgentError(
        "M741",
        "no key decrypts its content",
        where=f"memory {memory}",
        fix="add the key that wrote it to MEMOS_MEMORY_KEYS, at the end; "
        "`memos-assets keys status` counts the rows of each key",
    )


def content_digest(text: str) -> str:
    """Return memOS's ``content_hash``: sha256 of the text as it was given, 64 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def _listed(settings: Settings) -> list[str]:
    listed = settings.memory_keys
    parts = [] if listed is None else listed.get_secret_value().split(":")
    return [part for part in parts if part]


def _fernet(text: str, place: int) -> Fernet:
    try:
        # Fernet itself ignores characters that base64 does not have: a damaged key would become
        # another key, and what it writes could not be read by the right one.
        if len(base64.b64decode(text, altchars=b"-_", validate=True)) == _KEY_BYTES:
            return Fernet(text)
    except (binascii.Error, ValueError):
        pass
    raise AgentError(
        "M742",
        f"key {place} is not a Fernet key, which is 32 bytes in URL-safe base64",
        where=_WHERE,
        fix="correct it; a key is 44 characters, and `:` is between two keys. A passphrase belongs "
        "into MEMOS_ENCRYPTION_KEY",
    )


@lru_cache(maxsize=16)
def _derived(passphrase: str, salt: str) -> bytes:
    """Derive a key once per process; it takes about 30 ms."""
    key = hashlib.pbkdf2_hmac("sha256", passphrase.encode(), salt.encode(), _ROUNDS, _KEY_BYTES)
    return base64.urlsafe_b64encode(key)
