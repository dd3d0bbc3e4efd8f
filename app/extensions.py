"""Database, Redis and the outside services: made once in a process, chosen by settings.

`init` opens nothing: every connection is made at first use, so a process can start, say what is
missing on `/ready`, and go on when it comes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

import mongoengine
import redis
from pymongo import MongoClient

from app.bitcoin.addresses import Network
from app.clients.arc import ArcClient
from app.clients.broadcasting import Broadcaster, BroadcastService
from app.clients.circuit import Circuit
from app.clients.kms import KmsClient
from app.clients.mail import GuardedMail, MailClient, MailFolder, SmtpClient, SmtpServer, Tls
from app.clients.pacing import SharedPacer
from app.clients.sharing import RedisGuard
from app.clients.whatsonchain import WhatsOnChainClient
from app.config import Settings, SmtpSecurity
from app.domain.emails import parse_sender
from app.models import indexes
from app.models.api_key import ApiKey
from app.models.claim_intent import ClaimIntent
from app.models.erasure import Erasure
from app.models.key_proof import KeyProof
from app.models.migration import AppliedMigration
from app.models.patch_state import PatchState
from app.models.record import AuthenticationRecord
from app.models.setting import Setting
from app.models.svd_key import SvdKey
from app.models.transaction import ChainTransaction
from app.models.utxo import Utxo
from app.models.verification_code import VerificationCode

DOCUMENTS: Sequence[type[Any]] = (
    AuthenticationRecord,
    ChainTransaction,
    Utxo,
    PatchState,
    ClaimIntent,
    Setting,
    SvdKey,
    ApiKey,
    VerificationCode,
    KeyProof,
    Erasure,
    AppliedMigration,
)

# One request finds out every second whether Redis is back; the others do not wait with it.
LIMITS_REST_SECONDS = 1.0


@dataclass(frozen=True)
class Extensions:
    """What services reach through `get()`."""

    settings: Settings
    database: MongoClient[dict[str, Any]]
    redis: redis.Redis
    limits_guard: RedisGuard
    chain: WhatsOnChainClient
    broadcaster: Broadcaster
    kms: KmsClient
    # None where mails can't be sent.
    mail: MailClient | None
    # What outside services said of themselves a moment ago, for readiness: part -> (when, problem).
    readings: dict[str, tuple[float, str | None]] = field(default_factory=dict)


_current: list[Extensions] = []


def init(settings: Settings) -> Extensions:
    """Makes the extensions of this process; a second call replaces them (tests, forked workers)."""
    mongoengine.disconnect_all()
    shared = redis_client(settings)
    chain = _chain_client(settings, shared)
    current = Extensions(
        settings=settings,
        database=_connect_database(settings),
        redis=shared,
        limits_guard=RedisGuard(
            "rate limits",
            meanwhile="keep logins closed and let everything else pass",
            rest_seconds=LIMITS_REST_SECONDS,
        ),
        chain=chain,
        broadcaster=_broadcaster(settings, chain, shared),
        kms=_kms_client(settings),
        mail=_mail_client(settings, shared),
    )
    _current[:] = [current]
    return current


def get() -> Extensions:
    """Answers the extensions of this process.

    Raises:
        RuntimeError: `init` was not called; a defect of the caller's start-up.
    """
    if not _current:
        raise RuntimeError("extensions.init(settings) has not been called in this process")
    return _current[0]


def redis_client(settings: Settings) -> redis.Redis:
    """A Redis client whose calls end in time, whatever Redis does."""
    timeout = settings.redis_timeout_ms / 1000
    options: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "decode_responses": True,
    }
    if settings.redis_password is not None:
        options["password"] = settings.redis_password.get_secret_value()
    return redis.Redis.from_url(settings.redis_url.get_secret_value(), **options)


def ensure_indexes() -> list[str]:
    """Builds the indexes of every document; drops nothing. Answers the collections' names."""
    for document in DOCUMENTS:
        document.ensure_indexes()
    return [document._get_collection_name() for document in DOCUMENTS]


def missing_indexes() -> list[str]:
    """Lists indexes that the documents name and the database lacks, as `collection: fields`."""
    return list(indexes.compare(DOCUMENTS).missing)


def _connect_database(settings: Settings) -> MongoClient[dict[str, Any]]:
    uri, authentication_options = _split_database(settings.mongodb_uri.get_secret_value())
    client: MongoClient[dict[str, Any]] = mongoengine.connect(
        settings.db_name,
        host=uri,
        **authentication_options,
        tz_aware=True,
        uuidRepresentation="standard",
        # Acknowledged by a majority and in the journal: a 2xx means that it is durable.
        w="majority",
        journal=True,
        retryWrites=True,
        connect=False,
        serverSelectionTimeoutMS=settings.db_server_selection_timeout_ms,
        connectTimeoutMS=settings.db_connect_timeout_ms,
        socketTimeoutMS=settings.db_socket_timeout_ms,
        heartbeatFrequencyMS=settings.db_heartbeat_frequency_ms,
    )
    return client


def _split_database(uri: str) -> tuple[str, dict[str, str]]:
    """Takes the database out of a MongoDB URI: DB_NAME decides, the URI's only authenticates."""
    parts = urlsplit(uri)
    database = parts.path.lstrip("/")
    if not database:
        return uri, {}
    is_given = any(name.lower() == "authsource" for name, _ in parse_qsl(parts.query))
    options = {} if is_given else {"authSource": unquote(database)}
    return urlunsplit(parts._replace(path="/")), options


def _chain_client(settings: Settings, shared: redis.Redis) -> WhatsOnChainClient:
    key = settings.woc_api_key
    per_second = settings.chain_requests_per_second
    return WhatsOnChainClient(
        settings.chain_url,
        network_name="main" if settings.woc_network is Network.MAIN else "test",
        api_key=None if key is None else key.get_secret_value(),
        timeout_seconds=settings.woc_timeout_ms / 1000,
        retries=settings.woc_retries,
        pacer=SharedPacer("whatsonchain", per_second, shared) if per_second else None,
    )


def _broadcaster(settings: Settings, chain: WhatsOnChainClient, shared: redis.Redis) -> Broadcaster:
    services: dict[str, BroadcastService] = {chain.name: chain}
    if settings.arc_url is not None:
        key = settings.arc_api_key
        arc = ArcClient(
            settings.arc_url,
            api_key=None if key is None else key.get_secret_value(),
            timeout_seconds=settings.arc_timeout_ms / 1000,
        )
        services[arc.name] = arc
    chosen = [services[name] for name in settings.broadcasters]
    circuits = {
        service.name: Circuit(
            service.name,
            shared,
            failures=settings.circuit_failures,
            open_seconds=settings.circuit_seconds,
        )
        for service in chosen
    }
    return Broadcaster(chosen, circuits)


def _mail_client(settings: Settings, shared: redis.Redis) -> MailClient | None:
    if settings.smtp_host is None:
        return None if settings.is_production else MailFolder(settings.mail_directory)
    password = settings.smtp_pass
    server = SmtpServer(
        settings.smtp_host,
        settings.smtp_port,
        tls=_tls(settings),
        user=settings.smtp_user,
        password=None if password is None else password.get_secret_value(),
        ca_file=settings.smtp_ca_file,
    )
    client = SmtpClient(
        server,
        own_name=parse_sender(settings.sender).domain,
        timeout_seconds=settings.smtp_timeout_ms / 1000,
    )
    circuit = Circuit(
        "mail",
        shared,
        failures=settings.circuit_failures,
        open_seconds=settings.circuit_seconds,
    )
    return GuardedMail(client, circuit)


def _tls(settings: Settings) -> Tls:
    if settings.smtp_security is not SmtpSecurity.AUTO:
        return _TLS_OF_SECURITY[settings.smtp_security]
    if settings.smtp_port == IMPLICIT_TLS_PORT:
        return Tls.IMPLICIT
    return Tls.OFFERED if settings.smtp_user is None else Tls.REQUIRED


IMPLICIT_TLS_PORT = 465
_TLS_OF_SECURITY = {
    SmtpSecurity.TLS: Tls.IMPLICIT,
    SmtpSecurity.STARTTLS: Tls.REQUIRED,
    SmtpSecurity.NONE: Tls.NEVER,
}


def _kms_client(settings: Settings) -> KmsClient:
    return KmsClient(
        settings.kms_url,
        api_key=settings.kms_api_key.get_secret_value(),
        svd_base_url=settings.kms_svd_url or settings.kms_sign_url,
        timeout_seconds=settings.kms_sign_timeout_ms / 1000,
        attempts=settings.kms_sign_retry_attempts,
        budget_seconds=settings.kms_budget_ms / 1000,
    )
