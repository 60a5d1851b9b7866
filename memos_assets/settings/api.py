"""Settings of the doors for agents: HTTP and MCP."""

from typing import Annotated

from pydantic import Field, SecretStr

from memos_assets.settings.group import EMPTY_IS_UNSET, SettingsGroup


class ApiSettings(SettingsGroup):
    """Where `memos-assets serve` answers, its limits, and the tokens of others that it accepts."""

    api_host: str = Field(
        default="127.0.0.1",
        description="Address that `memos-assets serve` binds to. Others than this machine reach it "
        "only if this says so; put TLS in front of it then.",
    )
    api_port: int = Field(default=8765, ge=0, le=65_535, description="Its port; 0: a free one.")
    api_most_bytes: int = Field(
        default=4_000_000, ge=1_000, description="Most bytes of the body of a request."
    )
    api_most_requests: int = Field(
        default=100,
        ge=1,
        description="Requests at once, per worker; further ones are answered 503 with Retry-After.",
    )
    api_seconds: float = Field(
        default=30,
        gt=0,
        description="Longest time of a request in seconds; then it is answered 504.",
    )
    api_stop_seconds: int = Field(
        default=10,
        ge=0,
        description="After SIGTERM, seconds in which requests that have begun may end.",
    )
    api_token: Annotated[SecretStr | None, EMPTY_IS_UNSET] = Field(
        default=None, description="Access token of `memos-assets mcp` over stdio."
    )
    api_jwt_key: Annotated[SecretStr | None, EMPTY_IS_UNSET] = Field(
        default=None,
        description="Key by which JSON Web Tokens of others are verified: the secret of HS256, or "
        "a public key as PEM. Unset: access tokens of `memos-assets tokens` alone are accepted.",
    )
    api_jwt_algorithm: str = Field(
        default="HS256",
        description="The one algorithm by which JSON Web Tokens are signed, such as HS256, RS256 "
        "or EdDSA.",
    )
    api_jwt_audience: Annotated[str | None, EMPTY_IS_UNSET] = Field(
        default=None,
        description="Audience that JSON Web Tokens have to name; unset: none is asked for.",
    )
