"""Texts of an erased user that are still looked for, sealed so that only the user's id opens them.

An erasure commits before it searches. If it is killed in between, the texts are needed once more,
and must not be readable in the database: they are encrypted by a key that is derived from the id,
which the database does not have. The next run of the erasure names it.
"""

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from typing import Final

from cryptography.fernet import Fernet, InvalidToken

_SALT_BYTES: Final = 16
#: A guess of an id costs a tenth of a second and 32 MB.
_COST: Final = {"n": 2**15, "r": 8, "p": 1, "maxmem": 64 * 1024 * 1024}


def seal(user: str, texts: Sequence[str]) -> bytes:
    """Return texts encrypted: a salt of 16 bytes, then a Fernet token.

    Args:
        user: whose id opens them.
        texts: of the user.
    """
    salt = os.urandom(_SALT_BYTES)
    return salt + _fernet(user, salt).encrypt(json.dumps(list(texts)).encode())


def unseal(user: str, sealed: bytes) -> tuple[str, ...] | None:
    """Return the texts that `seal` was given; None: of another user, or damaged."""
    salt, token = sealed[:_SALT_BYTES], sealed[_SALT_BYTES:]
    try:
        return tuple(json.loads(_fernet(user, salt).decrypt(token)))
    except InvalidToken:
        return None


def _fernet(user: str, salt: bytes) -> Fernet:
    key = hashlib.scrypt(user.encode("utf-8", "surrogatepass"), salt=salt, dklen=32, **_COST)
    return Fernet(base64.urlsafe_b64encode(key))
