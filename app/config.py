"""Typed settings from the environment: production by default, every problem named at once."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from app.bitcoin.addresses import Network, parse_address
from app.bitcoin.keys import PublicKey
from app.domain.emails import parse_sender


class Environment(StrEnum):
    PRODUCTION = "production"
    DEVELOPMENT = "development"
    TEST = "test"


class OnchainPayload(StrEnum):
    """What the transaction shows: a salted digest of the record, or the record itself."""

    COMMITMENT = "commitment"
    RECORD = "record"


class SmtpSecurity(StrEnum):
    """When mail goes over TLS; `auto` goes by the port, and by whether a password is sent."""

    AUTO = "auto"
    TLS = "tls"
    STARTTLS = "starttls"
    NONE = "none"


class SettingsError(Exception):
    """The environment can't be used; the text names every setting that is missing or bad."""


def _comma_list(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _any_of(*names: str) -> Any:
    return AliasChoices(*names)


def _number_or_default(value: object, info: ValidationInfo) -> object:
    """Reads a number as older files have it: without one that is not 0, the default counts."""
    digits = _LEADING_NUMBER.match(str(value))
    number = int(digits[0]) if digits else 0
    return number or Settings.model_fields[info.field_name or ""].default


CommaList = Annotated[tuple[str, ...], BeforeValidator(_comma_list)]
Secret = Annotated[SecretStr, Field(min_length=1)]
LimitNumber = Annotated[int, Field(ge=1, le=1_000_000_000), BeforeValidator(_number_or_default)]


class Settings(BaseModel):
    """Every setting that the service reads. A name in the environment is the field in capitals."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    # Checks of a field see the fields above it, so those that others depend on come first.
    app_env: Environment = Environment.PRODUCTION
    woc_network: Network = Network.MAIN
    log_level: Annotated[str, Field(pattern="^(error|warn|warning|info|debug)$")] = "info"
    public_base_url: str = "http://127.0.0.1:3001"
    trusted_proxies: Annotated[int, Field(ge=0, le=5)] = 0
    deploy_sha: str = Field("unknown", validation_alias=_any_of("deploy_sha", "commit_sha"))
    cors_allowed_origins: CommaList = ()
    metrics_require_api_key: bool = False
    metrics_enabled: bool = True
    enable_swagger_docs: bool = True

    # May be left out: keys that operators make are kept in the database.
    api_key: Secret | None = None
    jwt_secret: Secret
    jwt_secret_previous: SecretStr | None = None
    master_secret: Secret

    mongodb_uri: Secret
    db_name: str = "patchproof_prod"
    db_server_selection_timeout_ms: PositiveInt = 5000
    db_connect_timeout_ms: PositiveInt = 10000
    db_socket_timeout_ms: PositiveInt = 45000
    db_heartbeat_frequency_ms: PositiveInt = 10000

    redis_password: SecretStr | None = None
    redis_url: Secret
    redis_timeout_ms: PositiveInt = 2000

    kms_sign_url: str
    kms_tx_sign_url: str | None = None
    kms_svd_url: str | None = None
    kms_api_key: Secret
    kms_sign_timeout_ms: PositiveInt = 15000
    kms_sign_retry_attempts: PositiveInt = 3
    kms_budget_ms: PositiveInt = 25000

    issuer_key_identifier: str
    issuer_public_keys: CommaList
    utxo_funding_key_identifier: str = Field(
        validation_alias=_any_of("utxo_funding_key_identifier", "funding_key_identifier")
    )
    utxo_funding_address: str = Field(
        validation_alias=_any_of("utxo_funding_address", "funding_address")
    )
    utxo_change_address: str | None = Field(
        None, validation_alias=_any_of("utxo_change_address", "change_address")
    )

    woc_base_url: str | None = None
    woc_api_key: SecretStr | None = None
    woc_timeout_ms: PositiveInt = 15000
    woc_retries: Annotated[int, Field(ge=0, le=10)] = 2
    woc_requests_per_second: Annotated[float, Field(ge=0, le=1000)] | None = None
    arc_url: str | None = None
    broadcasters: CommaList = ("whatsonchain",)
    arc_api_key: SecretStr | None = None
    arc_timeout_ms: Annotated[int, Field(ge=3000)] = 15000
    circuit_failures: PositiveInt = 5
    circuit_seconds: PositiveInt = 30

    fee_per_kb: PositiveInt = Field(100, validation_alias=_any_of("woc_fee_per_kb", "fee_per_kb"))
    fee_per_kb_max: PositiveInt = 2000
    fee_policy_max_age_seconds: PositiveInt = 600
    utxo_min_pool: PositiveInt = Field(
        10, validation_alias=_any_of("utxo_min_pool", "min_utxo_count")
    )
    utxo_max_pool: PositiveInt | None = None
    utxo_split_size_sats: PositiveInt = 5000
    utxo_split_size_sats_min: PositiveInt = 1000
    max_split_outputs: Annotated[int, Field(ge=2, le=1000)] = 40
    split_cooldown_ms: Annotated[int, Field(ge=0)] = 60000
    split_lease_ms: PositiveInt = 300000
    dust_threshold_sats: PositiveInt = 2000
    dust_sweep_limit: Annotated[int, Field(ge=2)] = 20
    sweep_max_inputs: Annotated[int, Field(ge=2, le=1000)] = 200
    utxo_reaper_minutes: PositiveInt | None = None
    utxo_reaper_batch_limit: PositiveInt = 500
    runway_warning_hours: PositiveInt = 24
    utxo_min_confirmations: Annotated[int, Field(ge=0, le=100)] = 1
    pool_selection: Annotated[str, Field(pattern="^(largest|best_fit)$")] = "largest"

    jobs_async: bool = False
    anchor_batch_size: Annotated[int, Field(ge=1, le=500)] = 100
    claim_lease_seconds: Annotated[int, Field(ge=1)] = 120
    max_anchor_attempts: PositiveInt = 5
    final_confirmations: PositiveInt = 6
    track_interval_seconds: PositiveInt = 30
    sweep_interval_seconds: PositiveInt = 10
    invariants_interval_seconds: PositiveInt = 900
    onchain_payload: OnchainPayload = OnchainPayload.COMMITMENT

    claim_intent_ttl_ms: Annotated[int, Field(ge=1000, le=3_600_000)] = 180_000
    # Whose patches a till may move without their owner's signature: nobody's, unless named here.
    pos_shop_addresses: CommaList = ()

    unlock_allow_static: bool = False
    unlock_challenge_ttl_sec: PositiveInt = 180
    svd_clock_skew_sec: Annotated[int, Field(ge=0)] = 30
    svd_challenge_ttl_sec: Annotated[int, Field(ge=1, le=3600)] = 180
    # Whether registering a login key needs its signature; in production unless told otherwise.
    svd_register_proof: bool | None = None
    # The name of the signer's login key where the signer does not tell it.
    svd_kms_kid: Annotated[str, Field(pattern=r"^[\w.:-]{1,128}$")] | None = None
    # How long a login waits for the signer, all tries together.
    svd_kms_budget_ms: Annotated[int, Field(ge=100, le=20000)] = 3000

    # Mail, and the codes that are mailed. Without SMTP_HOST production mails nothing, and elsewhere
    # mails become files in MAIL_DIRECTORY.
    smtp_host: str | None = None
    smtp_port: Annotated[int, Field(ge=1, le=65535)] = 587
    smtp_user: str | None = None
    smtp_pass: SecretStr | None = Field(
        None, validation_alias=_any_of("smtp_pass", "smtp_password"), validate_default=True
    )
    smtp_security: SmtpSecurity = SmtpSecurity.AUTO
    smtp_ca_file: Path | None = None
    smtp_timeout_ms: Annotated[int, Field(ge=1, le=60_000)] = 10_000
    email_from: str | None = Field(None, validate_default=True)
    brand_name: Annotated[str, Field(min_length=1, max_length=80)] = "PatchProof"
    mail_directory: Path = Path("var/mail")
    mail_max_attempts: Annotated[int, Field(ge=1, le=20)] = 8
    verify_code_salt_rounds: Annotated[int, Field(ge=4, le=14)] = 10

    # Each limit of app/api/limits.py: how many in how long.
    public_api_window_ms: LimitNumber = 60_000
    public_api_max: LimitNumber = 60
    svd_begin_window_ms: LimitNumber = 60_000
    svd_begin_max: LimitNumber = 20
    svd_complete_window_ms: LimitNumber = 60_000
    svd_complete_max: LimitNumber = 30
    svd_canary_window_ms: LimitNumber = 60_000
    svd_canary_max: LimitNumber = 30
    auth_address_window_ms: LimitNumber = 60_000
    auth_address_max: LimitNumber = 30
    auth_request_window_ms: LimitNumber = 60_000
    auth_request_max: LimitNumber = 1
    auth_submit_window_ms: LimitNumber = 600_000
    auth_submit_max: LimitNumber = 5
    auth_submit_identifier_window_ms: LimitNumber = 600_000
    auth_submit_identifier_max: LimitNumber = 20
    claim_intent_window_ms: LimitNumber = 60_000
    claim_intent_max: LimitNumber = 60
    reading_window_ms: LimitNumber = 60_000
    reading_max: LimitNumber = 600
    certificate_pdf_window_ms: LimitNumber = 60_000
    certificate_pdf_max: LimitNumber = 30
    polling_window_ms: LimitNumber = 60_000
    polling_max: LimitNumber = 3000
    writing_window_ms: LimitNumber = 60_000
    writing_max: LimitNumber = 6000
    privacy_window_ms: LimitNumber = 60_000
    privacy_max: LimitNumber = 60
    refused_key_window_ms: LimitNumber = 60_000
    refused_key_max: LimitNumber = 60

    @property
    def is_production(self) -> bool:
        return self.app_env is Environment.PRODUCTION

    @property
    def is_register_proof_needed(self) -> bool:
        """Whether a login key is registered only by who signs with it."""
        return self.is_production if self.svd_register_proof is None else self.svd_register_proof

    @property
    def change_address(self) -> str:
        """Where older tools sent change; ours goes back to the funding address."""
        return self.utxo_change_address or self.utxo_funding_address

    @property
    def max_pool(self) -> int:
        """The high water mark of the pool, in outputs."""
        return self.utxo_max_pool or 2 * self.utxo_min_pool

    @property
    def kms_url(self) -> str:
        """Base URL for `/sign`."""
        return self.kms_tx_sign_url or self.kms_sign_url

    @property
    def chain_url(self) -> str:
        """Base URL of the WhatsOnChain API, network included."""
        if self.woc_base_url:
            return self.woc_base_url
        return f"https://api.whatsonchain.com/v1/bsv/{self.woc_network.value}"

    @property
    def chain_requests_per_second(self) -> float:
        """The pace towards WhatsOnChain, 0 for none; its free limit is 3, the least paid one 10."""
        if self.woc_requests_per_second is not None:
            return self.woc_requests_per_second
        return 10.0 if self.woc_api_key else 3.0

    @property
    def sender(self) -> str:
        """Who mails come from."""
        return self.email_from or "codes@patchproof.example"

    @property
    def mail_lease_seconds(self) -> float:
        """How long a sending may take before somebody else does it again: above all timeouts."""
        return 60 + 5 * self.smtp_timeout_ms / 1000

    @field_validator("kms_sign_url", "kms_tx_sign_url", "kms_svd_url", "woc_base_url", "arc_url")
    @classmethod
    def _check_url(cls, url: str | None) -> str | None:
        if url is not None and urlsplit(url).scheme not in ("http", "https"):
            raise ValueError("must be an http(s) URL")
        return url

    @field_validator("issuer_public_keys")
    @classmethod
    def _check_public_keys(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        if not keys:
            raise ValueError("needs at least one compressed public key in hex")
        for text in keys:
            PublicKey.from_hex(text)
        return keys

    @field_validator("utxo_funding_address", "utxo_change_address")
    @classmethod
    def _check_address(cls, address: str | None, info: ValidationInfo) -> str | None:
        network = info.data.get("woc_network")
        if address is not None and network is not None:
            parse_address(address, network)
        return address

    @field_validator("pos_shop_addresses")
    @classmethod
    def _check_addresses(cls, addresses: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for address in addresses:
            cls._check_address(address, info)
        return addresses

    @field_validator("broadcasters")
    @classmethod
    def _check_broadcasters(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if not names or len(set(names)) < len(names) or not set(names) <= BROADCASTER_NAMES:
            raise ValueError("lists whatsonchain and arc, each once at most")
        if "arc" in names and info.data.get("arc_url", "") is None:
            raise ValueError("names arc, so ARC_URL is needed")
        return names

    @field_validator("utxo_max_pool")
    @classmethod
    def _check_max_pool(cls, maximum: int | None, info: ValidationInfo) -> int | None:
        if maximum is not None and maximum < info.data.get("utxo_min_pool", 0):
            raise ValueError("must not be below UTXO_MIN_POOL")
        return maximum

    @field_validator("woc_network")
    @classmethod
    def _check_network(cls, network: Network, info: ValidationInfo) -> Network:
        if _is_for_production(info) and network is Network.REGTEST:
            raise ValueError("must not be regtest in production: that is the devnet's")
        return network

    @field_validator("mongodb_uri")
    @classmethod
    def _check_database(cls, uri: SecretStr, info: ValidationInfo) -> SecretStr:
        if _is_for_production(info) and not _DATABASE_WITH_CREDENTIALS.match(
            uri.get_secret_value()
        ):
            raise ValueError("must carry credentials in production")
        return uri

    @field_validator("redis_url")
    @classmethod
    def _check_redis(cls, url: SecretStr, info: ValidationInfo) -> SecretStr:
        has_password = urlsplit(url.get_secret_value()).password or info.data.get("redis_password")
        if _is_for_production(info) and not has_password:
            raise ValueError("or REDIS_PASSWORD must carry a password in production")
        return url

    @field_validator("jwt_secret")
    @classmethod
    def _check_jwt_secret(cls, secret: SecretStr, info: ValidationInfo) -> SecretStr:
        if _is_for_production(info) and len(secret.get_secret_value()) < 32:
            # The older system's example, change-me, is among them.
            raise ValueError("needs at least 32 characters")
        return secret

    @field_validator("smtp_pass")
    @classmethod
    def _check_smtp_login(cls, word: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        has_user = info.data.get("smtp_user") is not None
        if has_user != (word is not None):
            raise ValueError("goes with SMTP_USER: both or neither")
        return word

    @field_validator("smtp_security")
    @classmethod
    def _check_smtp_security(cls, security: SmtpSecurity, info: ValidationInfo) -> SmtpSecurity:
        if security is SmtpSecurity.NONE and info.data.get("smtp_user") is not None:
            raise ValueError("must not be none with SMTP_USER: a password never goes in clear")
        return security

    @field_validator("smtp_ca_file")
    @classmethod
    def _check_ca_file(cls, path: Path | None) -> Path | None:
        try:
            ssl.create_default_context(cafile=path)
        except OSError as error:
            raise ValueError(f"holds no certificates in PEM: {error.strerror}") from None
        return path

    @field_validator("email_from")
    @classmethod
    def _check_sender(cls, sender: str | None, info: ValidationInfo) -> str | None:
        sender = sender or info.data.get("smtp_user")
        is_needed = _is_for_production(info) and info.data.get("smtp_host") is not None
        try:
            return None if sender is None and not is_needed else str(parse_sender(sender or ""))
        except ValueError:
            raise ValueError("or SMTP_USER must be an address, which mails come from") from None

    @field_validator("brand_name")
    @classmethod
    def _check_brand_name(cls, name: str) -> str:
        if not name.isprintable():
            raise ValueError("must be one line of text")
        return name


def _is_for_production(info: ValidationInfo) -> bool:
    return info.data.get("app_env") is Environment.PRODUCTION


_LEADING_NUMBER = re.compile(r"\s*[+-]?[0-9]{1,18}")
_DATABASE_WITH_CREDENTIALS = re.compile(r"mongodb(\+srv)?://[^/@]+:[^/@]+@")
BROADCASTER_NAMES = frozenset({"whatsonchain", "arc"})

# Of the older system, and read by nothing here; some of them by nothing there.
IGNORED_SETTINGS = frozenset(
    {
        "SVD_M_TTL_SEC",
        "FEE_SAT_PER_BYTE",
        "UTXO_FEE_BUFFER",
        "SPLIT_DRY_RUN",
        "UTXO_SPLIT_SIZE_SATS_MAX",
        "TEST_FORCE_SIGN_FAIL",
        "KMS_SIGN_RETRY_DELAY_MS",
        "HEALTH_WOC_CACHE_MS",
        "AUTO_MAINTAIN_ON_HEALTH",
        "ADMIN_API_KEY",
        "QUEUES_DASHBOARD_PORT",
        "UTXO_FEE_PER_BYTE",
        "ISSUER_XPRV",
        "ISSUER_SEED",
        "NODE_ENV",
        "INTERNAL_SIGNER_ENABLED",
        "SIGNER_PRIV_WIF",
        "SVD_SERVER_PMS_WIF",
        "PORT",
        "BIND",
        "MONGODB_DB",
        "REDIS_ENDPOINT",
        "REDIS_CONNECTION_STRING",
        "REDIS_HOST",
        "REDIS_PORT",
        "SVD_USE_KMS",
        "RECOVER_FAILED_BROADCASTS",
        "RECOVER_MAX_REQUEUES",
        "BULL_QUEUES",
    }
)

# Names by which the older system read the same.
_OLDER_NAMES = {"REDIS_URL": ("REDIS_CONNECTION_STRING", "REDIS_ENDPOINT")}


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Reads the settings; `NAME_FILE` names a file that holds the value of `NAME`.

    Raises:
        SettingsError: with one line that names every missing or bad setting.
    """
    environ = os.environ if environ is None else environ
    values, unread = _read_environment(environ)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        told = {name.upper() for name in unread}
        problems = _problems(error, told, environ)
        raise SettingsError(_describe([*unread.values(), *problems])) from None
    if unread:
        raise SettingsError(_describe(list(unread.values())))
    return settings


def ignored_settings(environ: Mapping[str, str] | None = None) -> list[str]:
    """Lists settings in the environment that nothing reads, so that start-up can say so."""
    return sorted(IGNORED_SETTINGS & set(os.environ if environ is None else environ))


def _read_environment(environ: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Answers the values by field name, and what keeps others from being read."""
    known = _known_names()
    values = {name: environ[name.upper()] for name in known if environ.get(name.upper())}
    unread: dict[str, str] = {}
    for name in known:
        path = environ.get(f"{name.upper()}_FILE")
        if not path:
            continue
        if name in values:
            unread[name] = f"{name.upper()} and {name.upper()}_FILE are both set: keep one"
            continue
        try:
            values[name] = _read_file(Path(path))
        except (OSError, UnicodeDecodeError) as error:
            unread[name] = f"{name.upper()}_FILE can't be read: {error}"
    return values, unread


def _read_file(path: Path) -> str:
    if path.exists() and not path.is_file():
        # A pipe may never say anything.
        raise OSError(f"{path} is no file")
    return path.read_text(encoding="utf-8").strip()


def _known_names() -> list[str]:
    names: list[str] = []
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        names.extend(str(c) for c in alias.choices) if isinstance(
            alias, AliasChoices
        ) else names.append(name)
    return names


def _problems(error: ValidationError, told: set[str], environ: Mapping[str, str]) -> list[str]:
    problems = []
    for problem in error.errors(include_input=False, include_url=False):
        name = str(problem["loc"][0]).upper()
        reason = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "missing":
            older = [each for each in _OLDER_NAMES.get(name, ()) if environ.get(each)]
            reason = f"is missing (rename {older[0]})" if older else "is missing"
        if name not in told:
            problems.append(f"{name} {reason}")
    return problems


def _describe(problems: list[str]) -> str:
    return "bad settings: " + "; ".join(problems)
