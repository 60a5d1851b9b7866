"""Keys: memOS's tokens are read, and no message shows a key or a text."""

import base64

import pytest
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from pydantic import SecretStr

from memos_assets.errors import AgentError
from memos_assets.memory.service import crypto
from memos_assets.memory.service.crypto import content_digest, key_ring
from memos_assets.settings import Settings

PASSPHRASE = "a passphrase of memOS with 32 chars"
NEW, OLD = (base64.urlsafe_b64encode(letter * 32).decode() for letter in (b"n", b"o"))


def keyed(keys: str | None = None, passphrase: str | None = None) -> Settings:
    return Settings(
        memory_keys=None if keys is None else SecretStr(keys),
        encryption_key=None if passphrase is None else SecretStr(passphrase),
    )


def token_of_memos(text: str) -> bytes:
    """What memOS's EncryptionService writes, by the library's own derivation."""
    kdf = PBKDF2HMAC(hashes.SHA256(), 32, b"memOS_recovery_bot_salt_2024", 100_000)
    return Fernet(base64.urlsafe_b64encode(kdf.derive(PASSPHRASE.encode()))).encrypt(text.encode())


def test_reads_what_memos_wrote_and_writes_what_memos_reads() -> None:
    ring = key_ring(keyed(passphrase=PASSPHRASE))
    assert ring.decrypt(token_of_memos("Ünïcode"), memory="m") == "Ünïcode"
    # memOS stores an empty text as no bytes at all.
    assert ring.decrypt(b"", memory="m") == ""
    ours = ring.encrypt("ours")
    assert ours.startswith(b"gAAAAA")
    with_new_key = key_ring(keyed(f"{NEW}:{OLD}", PASSPHRASE))
    assert [with_new_key.decrypt(t, memory="m") for t in (ours, token_of_memos("x"))] == [
        "ours",
        "x",
    ]
    assert with_new_key.key_of(ours) == 2
    assert with_new_key.key_of(with_new_key.encrypt("newest")) == 0
    assert Fernet(NEW).decrypt(with_new_key.rotate(ours)) == b"ours"


def test_the_derivation_is_done_once_per_process() -> None:
    crypto._derived.cache_clear()
    for _ in range(3):
        key_ring(keyed(passphrase=PASSPHRASE))
    assert crypto._derived.cache_info().misses == 1


def test_no_key_is_an_error_that_names_the_variables() -> None:
    with pytest.raises(AgentError, match=r"^M740 MEMOS_ENCRYPTION_KEY: .*MEMOS_MEMORY_KEYS"):
        key_ring(keyed())


@pytest.mark.parametrize(
    "bad",
    [
        "nonsense",
        NEW[:-4] + "####",
        NEW + "AA",
        f"{OLD}:{NEW[:20]} {NEW[20:]}",
        base64.urlsafe_b64encode(b"short").decode(),
        "clé",
    ],
)
def test_a_malformed_key_is_named_by_its_place_and_never_shown(bad: str) -> None:
    with pytest.raises(AgentError, match=r"^M742 MEMOS_MEMORY_KEYS: key \d is not") as caught:
        key_ring(keyed(bad))
    assert caught.value.__cause__ is None
    assert not any(part in str(caught.value) for part in bad.split(":"))


def test_a_lost_key_names_the_row_and_nothing_of_it() -> None:
    token = Fernet(OLD).encrypt(b"a secret of the user")
    ring = key_ring(keyed(NEW))
    for lost in (token, b"gAAAAA\x00\xff", token[:-1] + b"A", b"plain"):
        with pytest.raises(AgentError, match=r"^M741 memory 17: no key decrypts") as caught:
            ring.decrypt(lost, memory=17)
        assert caught.value.__cause__ is None
        assert "secret" not in str(caught.value)
        assert ring.key_of(lost) is None


def test_nothing_that_is_printed_shows_a_key() -> None:
    settings = keyed(f"{NEW}:", PASSPHRASE)
    shown = f"{settings!r} {key_ring(settings)!r}"
    assert "key 1 of MEMOS_MEMORY_KEYS, MEMOS_ENCRYPTION_KEY" in shown
    assert NEW not in shown
    assert PASSPHRASE not in shown


def test_the_digest_is_memos_own() -> None:
    assert content_digest("abc") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
