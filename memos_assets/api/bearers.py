"""Who is let in: access tokens of ours, and JSON Web Tokens where a key for them is set."""

from collections.abc import Sequence
from typing import Final, Protocol

import jwt
from sqlalchemy.ext.asyncio import AsyncSession

from memos_assets.errors import AgentError
from memos_assets.memory import access_tokens
from memos_assets.memory.access_tokens import Bearer
from memos_assets.settings import Settings

_WHERE: Final = "JSON Web Token"
_KEY: Final = "MEMOS_API_JWT_KEY"
#: Bytes of a secret for HS256 below which it could be guessed (RFC 7518, 3.2).
_LEAST_SECRET: Final = 32


class Verifier(Protocol):
    """Tells for whom the bearer of a token of its kind acts."""

    async def verify(self, session: AsyncSession, token: str) -> Bearer | None:
        """Return the bearer; None: the token is of another kind.

        Args:
            session: of the role of services, which acts for nobody yet.
            token: as it was sent.

        Raises:
            AgentError: the token is of this kind, and does not hold.
        """


class StoredTokens:
    """Tokens of `memos-assets tokens`."""

    async def verify(self, session: AsyncSession, token: str) -> Bearer | None:
        """As `Verifier.verify`; raises M951 to M953."""
        if not token.startswith(access_tokens.PREFIX):
            return None
        return await session.run_sync(access_tokens.find, token)


class JsonWebTokens:
    """Signed tokens of others, by one algorithm and one key.

    In the payload ``sub`` is the user, ``exp`` is required, ``agent`` names the agent, ``spaces``
    the shared spaces, as a list.
    """

    def __init__(self, key: str, algorithm: str, audience: str | None = None) -> None:
        """Take the key.

        Raises:
            AgentError: M957 no key of the algorithm, or one that could be guessed.
        """
        self._algorithm, self._audience = algorithm, audience
        try:
            known = jwt.get_algorithm_by_name(algorithm)
            if algorithm == "none":
                raise NotImplementedError
            known.prepare_key(key)
        except NotImplementedError:
            raise _unusable(
                f"{algorithm[:20]!r} is not an algorithm", "MEMOS_API_JWT_ALGORITHM", "use HS256"
            ) from None
        except (jwt.InvalidKeyError, ValueError, TypeError):
            raise _unusable(f"it is not a key of {algorithm}", _KEY, "pass PEM") from None
        if algorithm.startswith("HS") and len(key.encode()) < _LEAST_SECRET:
            raise _unusable(
                "the secret is short enough to be guessed", _KEY, f"pass {_LEAST_SECRET} bytes"
            )
        self._key = key

    async def verify(self, _session: AsyncSession, token: str) -> Bearer | None:
        """As `Verifier.verify`; raises M952 and M957."""
        if token.count(".") != 2:
            return None
        try:
            payload = jwt.decode(
                token,
                self._key,
                algorithms=[self._algorithm],
                audience=self._audience,
                options={
                    "require": ["exp", "sub"],
                    "verify_aud": self._audience is not None,
                },
            )
        except jwt.ExpiredSignatureError:
            raise AgentError(
                "M952", "it expired", where=_WHERE, fix="ask for another one"
            ) from None
        except jwt.InvalidTokenError as error:
            raise _unusable(type(error).__name__, _WHERE, "send one of the issuer") from None
        user, agent, spaces = payload["sub"], payload.get("agent", ""), payload.get("spaces", [])
        if not isinstance(agent, str) or not _is_texts(spaces) or not user.strip():
            raise _unusable(
                "agent is not text, or spaces no list of it", _WHERE, "correct the payload"
            )
        return Bearer(user, agent, tuple(spaces))


def verifiers_of(settings: Settings) -> Sequence[Verifier]:
    """Return who verifies tokens, by the settings.

    Raises:
        AgentError: M957 the key of JSON Web Tokens cannot be used.
    """
    if settings.api_jwt_key is None:
        return (StoredTokens(),)
    key = settings.api_jwt_key.get_secret_value()
    tokens = JsonWebTokens(key, settings.api_jwt_algorithm, settings.api_jwt_audience)
    return (StoredTokens(), tokens)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _unusable(what: str, where: str, fix: str) -> AgentError:
    return AgentError("M957", what, where=where, fix=fix)
