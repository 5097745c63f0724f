"""All settings of one process, in one frozen value. It is built at the edge and handed down."""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

from cofio.errors import InvalidSettings

ENV_PREFIX: Final = "COFIO_"
CONFIG_VARIABLE: Final = "COFIO_CONFIG"
SECRETS_VARIABLE: Final = "COFIO_SECRETS_DIR"
_SERVER: Final = re.compile(r"https?://[^/\s:]+(:\d{1,5})?(/\S*)?")
_ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9.\[\]:-]+")

# What slowapi understands, less its aliases: "600/minute", "5/10 second", several with semicolons. Empty is no limit.
_ONE_RATE: Final = r"[1-9]\d*/([1-9]\d* )?(second|minute|hour|day)"
Rate = Annotated[str, Field(pattern=rf"^({_ONE_RATE}(; ?{_ONE_RATE})*)?$")]


def _listed(value: object) -> object:
    """The items of a text with commas, as an environment variable holds them."""
    return [item for part in value.split(",") if (item := part.strip())] if isinstance(value, str) else value


Listed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]


class Settings(BaseSettings):
    """The settings of one process.

    Sources, the first one wins: arguments of the constructor, environment variables `COFIO_<NAME>`, files
    `cofio_<name>` in the folder that `COFIO_SECRETS_DIR` names, the TOML file that `COFIO_CONFIG` names, defaults. An
    unknown name in any of them raises. Use `load_settings` for errors that a user can read.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, frozen=True, extra="forbid", validate_default=True
    )

    host: str = Field(default="127.0.0.1", min_length=1, description="Address that the service listens on.")
    port: int = Field(default=8000, ge=1, le=65535, description="TCP port that the service listens on.")
    drain_s: float = Field(
        default=0.0,
        ge=0,
        description="Seconds that the service, told to stop, still takes requests while /health/ready says 503, so that a load balancer can turn away.",
    )
    stop_grace_s: float = Field(
        default=30.0,
        gt=0,
        description="Seconds that requests in flight have when the service takes no more; then they are cut off.",
    )
    workers: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Processes that serve; several need a Qdrant server, since the embedded engine belongs to one.",
    )
    data_dir: Path = Field(
        default=Path("data/store"),
        description="Folder of the stores: the database, the embedded vector store and the graph snapshot.",
    )
    backup_dir: Path | None = Field(
        default=None, description="Folder of the backups. Unset: `backups` under data_dir."
    )
    model_dir: Path = Field(
        default=Path("models"),
        description="Folder of the encoder's files, as scripts/setup_model.py places them.",
    )
    precision: Literal["int8", "fp32"] = Field(
        default="int8", description="Arithmetic of the encoder: int8 is several times faster, fp32 is exact."
    )
    encoder_threads: int = Field(
        default=2, ge=1, le=256, description="Encoder calls at a time, each on one thread."
    )
    max_pending_queries: int = Field(
        default=136, ge=1, description="Queries that may be under way at once; further ones are answered 503."
    )
    max_query_wait_s: float = Field(
        default=5.0,
        gt=0,
        description="Seconds that a query may wait for the encoder and for its turn; then it is answered 503.",
    )
    max_pending_ingests: int = Field(
        default=24, ge=1, description="Ingests that may be under way at once; further ones are answered 503."
    )
    qdrant_url: str | None = Field(
        default=None,
        description=(
            "URL of a Qdrant server, its gRPC on the port after. Unset: the embedded engine, under data_dir."
        ),
    )
    qdrant_api_key: SecretStr | None = Field(default=None, description="API key of the Qdrant server.")
    vector_timeout_s: float = Field(
        default=10.0,
        gt=0,
        description="Seconds that a call of the vector store may take; an embedded engine that takes longer is restarted.",
    )
    max_search_wait_s: float = Field(
        default=1.0,
        gt=0,
        description="Seconds that a query which needs the vector store waits for it; then it is answered from the graph, degraded.",
    )
    cache_entries: int = Field(default=2048, ge=1, description="Answers that the cache holds at most.")
    cache_bytes: int = Field(
        default=256 * 1024 * 1024, ge=1024, description="Bytes of JSON that the cached answers take at most."
    )
    cache_ttl_s: float = Field(
        default=600.0, gt=0, description="Seconds after which a cached answer is dropped."
    )
    cache_url: SecretStr | None = Field(
        default=None,
        description="URL of a Redis server where several workers keep answers together too. Unset: each its own.",
    )
    max_body_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=1024,
        description="Largest request body in bytes; a larger one is answered 413.",
    )
    body_timeout_s: float = Field(
        default=30.0,
        gt=0,
        description="Seconds that a body may keep the service waiting, at once or, with one more for every 32 KiB that came, in all; then it is answered 408.",
    )
    max_transcript_chars: int = Field(
        default=8_000_000, ge=1, description="Longest transcript in characters."
    )
    max_batch_meetings: int = Field(default=500, ge=1, description="Most meetings that one batch may hold.")
    max_participants: int = Field(default=500, ge=1, description="Most participants that a meeting may list.")
    max_metadata_depth: int = Field(
        default=8,
        ge=1,
        le=200,
        description="Most objects and lists inside one another in a meeting's metadata.",
    )
    max_json_depth: int = Field(
        default=64,
        ge=4,
        le=200,
        description="Most objects and lists inside one another in a JSON body or transcript.",
    )
    max_json_values: int = Field(
        default=2_000_000,
        ge=100,
        description="Most values in a JSON body or transcript, objects and lists counted too.",
    )
    max_metadata_bytes: int = Field(
        default=16_384, ge=2, description="Largest metadata of a meeting, in bytes of its JSON form."
    )
    query_rate: Rate = Field(
        default="60/minute;1000/hour",
        description='Queries that one key, or one address without a key, may send; "" for no limit.',
    )
    ingest_rate: Rate = Field(
        default="120/minute;2000/hour",
        description='Ingests and deletions that one key, or one address without a key, may send; "" for no limit.',
    )
    rate_storage_url: SecretStr | None = Field(
        default=None,
        description="URL of a Redis server where several processes count rates together. Unset: each for itself.",
    )
    allow_anonymous: bool = Field(
        default=False,
        description="Answer everybody on any address while there are no keys; otherwise on loopback alone.",
    )
    keys_file: Path | None = Field(
        default=None,
        description="File of the API keys. Unset: keys.sqlite3 under data_dir.",
    )
    jwt_secret: SecretStr | None = Field(
        default=None, description="Secret of at least 32 bytes that signs tokens with HS256."
    )
    jwt_public_key_file: Path | None = Field(
        default=None, description="RSA public key in PEM that verifies tokens signed with RS256."
    )
    jwt_audience: str | None = Field(
        default=None, description="Audience that a token must be made for; needed for tokens."
    )
    jwt_issuer: str | None = Field(
        default=None, description="Issuer that a token must come from; needed for tokens."
    )
    trusted_proxies: Listed = Field(
        default=(),
        description="Addresses or networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed.",
    )
    cors_origins: Listed = Field(
        default=(),
        description="Origins of web pages that may call this service, such as https://app.example.",
    )
    api_key: SecretStr | None = Field(
        default=None, description="Key that commands with --url send to the service."
    )
    degraded_memory_share: float = Field(
        default=0.9,
        gt=0,
        le=1,
        description="Share of the container's or machine's memory in use beyond which /health/detailed says degraded.",
    )
    degraded_disk_free_bytes: int = Field(
        default=1024 * 1024 * 1024,
        ge=0,
        description="Bytes free for the stores or backups below which /health/detailed says degraded.",
    )
    degraded_queue_share: float = Field(
        default=0.6,
        gt=0,
        le=1,
        description="Share of max_pending_queries waiting beyond which /health/detailed says degraded.",
    )
    degraded_error_share: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Share of the last five minutes' requests answered with 5xx beyond which /health/detailed says degraded.",
    )
    degraded_index_debt: int = Field(
        default=5000,
        ge=0,
        description="Writes owed to the vector index beyond which health says degraded.",
    )
    otlp_endpoint: str | None = Field(
        default=None,
        description="URL that takes traces as OTLP over HTTP, such as http://collector:4318/v1/traces; needs the extra `traces`. Unset: no traces.",
    )
    trace_share: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Share of the traces that begin here which are sent; of those begun elsewhere, their beginner decides.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe level that is logged."
    )
    log_format: Literal["console", "json"] = Field(
        default="console", description="Log lines for people (console) or for a log collector (json)."
    )

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            ipaddress.ip_network(proxy)
        return proxies

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"{origin} is no origin; write a scheme and a host, such as https://app.example"
                )
        return origins

    @field_validator("qdrant_url")
    @classmethod
    def _is_a_server(cls, url: str | None) -> str | None:
        if url is not None and not _SERVER.fullmatch(url):
            raise ValueError(
                f"{url} names no server; write http:// or https://, its host and, if need be, :port"
            )
        return url

    @field_validator(
        "backup_dir",
        "qdrant_url",
        "qdrant_api_key",
        "cache_url",
        "rate_storage_url",
        "keys_file",
        "jwt_secret",
        "jwt_public_key_file",
        "jwt_audience",
        "jwt_issuer",
        "api_key",
        "otlp_endpoint",
        mode="before",
    )
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        # TOML has no null, and an environment file often lists a name with nothing behind it.
        return None if value == "" else value

    @model_validator(mode="after")
    def _workers_share_an_index(self) -> Self:
        if self.workers > 1 and self.qdrant_url is None:
            raise ValueError(
                f"{self.workers} workers need a vector index that they can share: set `qdrant_url` to a Qdrant "
                "server, or `workers` to 1, since the embedded engine belongs to one process"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The sources in order of precedence, unknown names refused in each."""
        return (
            init_settings,
            _KnownVariables(settings_cls),
            _KnownSecrets(settings_cls),
            InitSettingsSource(settings_cls, _config_file()),
        )


class _KnownVariables(EnvSettingsSource):
    """Environment variables, of which one with our prefix that names no setting raises InvalidSettings."""

    def __call__(self) -> dict[str, Any]:
        known = {f"{ENV_PREFIX}{name}".upper() for name in self.settings_cls.model_fields}
        known |= {CONFIG_VARIABLE, SECRETS_VARIABLE}
        unknown = sorted(
            name for name in os.environ if name.upper().startswith(ENV_PREFIX) and name.upper() not in known
        )
        if unknown:
            raise InvalidSettings(
                f"unknown environment variable{'s' if len(unknown) > 1 else ''} {', '.join(unknown)}; "
                f"known are {', '.join(sorted(known))}",
                field=unknown[0],
            )
        return super().__call__()


class _KnownSecrets(SecretsSettingsSource):
    """Files of the folder that COFIO_SECRETS_DIR names, one a setting, without the white space around what they hold.

    Files without our prefix are somebody else's. One with it that names no setting raises InvalidSettings, and so does
    a folder or a file that cannot be read.
    """

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls, secrets_dir=os.environ.get(SECRETS_VARIABLE) or None)

    def __call__(self) -> dict[str, Any]:
        if self.secrets_dir is None:
            return {}
        known = {f"{ENV_PREFIX}{name}".lower() for name in self.settings_cls.model_fields}
        try:
            unknown = sorted(
                file.name
                for file in Path(str(self.secrets_dir)).iterdir()
                if file.name.lower().startswith(ENV_PREFIX.lower()) and file.name.lower() not in known
            )
            found = super().__call__()
        except OSError as error:
            raise InvalidSettings(
                f"cannot read the secrets in {self.secrets_dir}: {error.strerror}", field=SECRETS_VARIABLE
            ) from error
        if unknown:
            raise InvalidSettings(
                f"unknown setting{'s' if len(unknown) > 1 else ''} in {self.secrets_dir}: {', '.join(unknown)}",
                field=unknown[0],
            )
        return found


def _config_file() -> dict[str, Any]:
    """What the file named by COFIO_CONFIG holds; empty if none is named."""
    named = os.environ.get(CONFIG_VARIABLE)
    if not named:
        return {}
    try:
        return tomllib.loads(Path(named).read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidSettings(
            f"cannot read the settings file {named}: {error.strerror}", field=CONFIG_VARIABLE
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSettings(
            f"the settings file {named} is not valid TOML: {error}", field=CONFIG_VARIABLE
        ) from error


def load_settings(**overrides: object) -> Settings:
    """The settings of this process, `overrides` before every other source; None means not given.

    Raises InvalidSettings, which names each unknown or impossible setting.
    """
    given: dict[str, Any] = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        problems = [
            (".".join(map(str, problem["loc"])) or "settings", problem["type"], problem["msg"])
            for problem in error.errors(include_url=False, include_input=False)
        ]
    told = "; ".join(
        f"unknown setting {name}" if kind == "extra_forbidden" else f"{name}: {message}"
        for name, kind, message in problems
    )
    if any(kind == "extra_forbidden" for _, kind, _ in problems):
        told += f". Known are {', '.join(Settings.model_fields)}"
    raise InvalidSettings(told, field=problems[0][0])


def describe_settings() -> str:
    """Every setting with its default and meaning, as a table in Markdown."""
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for name, setting in Settings.model_fields.items():
        default = (
            "unset"
            if setting.default is None
            else f"`{setting.default}`"
            if setting.default not in ("", ())
            else "empty"
        )
        rows.append(f"| `{name}` | {default} | {setting.description} |")
    return "\n".join(rows)
