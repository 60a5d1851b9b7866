"""V40: today's keys read what memories hold."""

from typing import Final

from memos_assets.check import AnyCheck, Check, CheckContext
from memos_assets.errors import AgentError
from memos_assets.finding import Finding
from memos_assets.memory.check_subjects import memories_asset
from memos_assets.memory.service.crypto import content_digest, key_ring
from memos_assets.memory.service.rotation import MOST_NAMED, need_all_rows, sampled
from memos_assets.postgres.application.presence import absent_finding, application_is_absent

#: Memories that are decrypted; a key costs some 30 microseconds each.
SAMPLE: Final = 100


def a_sample_decrypts(context: CheckContext, _asset: str) -> Finding:
    """V40: memories of a random sample decrypt, and are what their ``content_hash`` says.

    It passes where memOS's tables are absent, and where no memory is stored.

    Args:
        context: the target database, as the owner of the tables, and the keys of the environment.
    """
    with context.engine.connect() as conn:
        if application_is_absent(conn):
            return absent_finding()
        need_all_rows(conn)
    rows, lost, others = 0, [], []
    try:
        keys = key_ring(context.settings)
    except AgentError as error:
        # Without memories there is nothing that a key could read.
        passed = error.code == "M740" and not any(sampled(context.engine, 1))
        observed = "no memories" if passed else f"{error.code} {error.what}"
        return Finding(passed, "keys, where there are memories", observed)
    for token in sampled(context.engine, SAMPLE):
        rows += 1
        try:
            text = keys.decrypt(token.encrypted, memory=token.memory)
        except AgentError:
            lost.append(str(token.memory))
            continue
        # memOS's digest of an empty text is empty.
        if token.content_hash not in (content_digest(text), *([""] if not text else [])):
            others.append(str(token.memory))
    faults = [f"{len(lost)} that no key decrypts"] if lost else []
    faults += [f"{len(others)} of another text than their digest's"] if others else []
    return Finding(
        not faults,
        expected=f"{rows} memories decrypt to the text of their digest",
        observed="; ".join(faults) or f"{rows} memories decrypt",
        evidence={
            "memories": rows,
            "keys": len(keys.keys),
            "undecryptable": lost[:MOST_NAMED],
            "another text": others[:MOST_NAMED],
        },
    )


CHECKS: tuple[AnyCheck, ...] = (
    Check(
        number=40,
        name="v40_a_sample_decrypts",
        title="A sample of memOS's memories decrypts with today's keys.",
        fix="add the key that wrote them to MEMOS_MEMORY_KEYS; `memos-assets keys status` counts "
        "the rows of each key",
        where="`memos/memories`",
        reads="`encrypted_content` and `content_hash` of 100 memories from a random place in the "
        "order of ids, and the keys of the environment",
        when_failed="A key is missing, or is another one than that which wrote the memories: set "
        "`MEMOS_ENCRYPTION_KEY` to memOS's passphrase, or add the key to `MEMOS_MEMORY_KEYS`. "
        "`memos-assets keys status` counts the rows of each key. A text that is not its digest's "
        "was changed outside of memOS. It passes where there are no memories.",
        subjects=memories_asset,
        judge=a_sample_decrypts,
        group="memory",
    ),
)
