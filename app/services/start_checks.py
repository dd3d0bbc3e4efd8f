"""What a process needs before it starts, asked once: whatever is missing is told in one sentence.

Once it runs nothing here is asked again. A service that goes away then is waited for, and `/ready`
names it; a process that is started meanwhile ends, and is started again until the service is back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pymongo
from pymongo import MongoClient
from pymongo.errors import ConfigurationError, OperationFailure, PyMongoError, WTimeoutError
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError
from redis.retry import Retry

from app import extensions, logs
from app.bitcoin import self_test
from app.bitcoin.keys import PrivateKey, PublicKey
from app.clients.kms import KmsRefusedError
from app.clients.outcomes import AuthenticationRefusedError, ClientError, WrongNetworkError
from app.config import Settings, SettingsError
from app.domain import svd
from app.domain.clock import utc_now
from app.errors import InconsistentStateError
from app.models.setting import write_nothing
from app.services import api_keys, migrating

logger = logging.getLogger(__name__)

# How long each service may take. One that is away ends the start, so these do not add up.
DATABASE_SECONDS = 8.0
SIGNER_SECONDS = 8.0
LOGIN_SECONDS = 5.0
CHAIN_SECONDS = 4.0
# Codes of MongoDB's errors.
_UNAUTHORIZED, _AUTHENTICATION_FAILED = 13, 18
# What the driver says of a server that takes a connection and never answers.
_NOTHING_YET = "No servers found yet"


class Kind(StrEnum):
    """The processes that PatchProof is made of, but for the signer, which checks its own needs."""

    WEB = "web"
    WORKER = "worker"
    BEAT = "beat"
    COMMAND = "command"


SERVICES = (Kind.WEB, Kind.WORKER, Kind.BEAT)


class StartError(SettingsError):
    """A need of the process is not met; the text names the setting and what to do."""


@dataclass(frozen=True)
class Need:
    """One thing that is needed; `setting` says where to look when it takes too long."""

    name: str
    setting: str
    check: Callable[[], None]
    kinds: Sequence[Kind] = SERVICES
    is_for_production_only: bool = False


@dataclass(frozen=True)
class Finding:
    """What became of one need: None, or a sentence."""

    name: str
    problem: str | None


def _ignore(need: Need) -> None:
    """Nobody watches."""


def check(kind: Kind, on_need: Callable[[Need], None] = _ignore) -> None:
    """Returns where everything that such a process needs is there; tells each before it is asked.

    Raises:
        StartError: something is missing or wrong.
    """
    for need in list_needs(kind):
        on_need(need)
        need.check()


def examine(kind: Kind) -> list[Finding]:
    """Asks for everything, whatever is missing; in the order in which a start asks."""
    return [Finding(need.name, _find_problem(need)) for need in list_needs(kind)]


def list_needs(kind: Kind) -> list[Need]:
    """What such a process needs under the settings of this one."""
    is_production = extensions.get().settings.is_production
    return [
        need
        for need in _NEEDS
        if kind in need.kinds and (is_production or not need.is_for_production_only)
    ]


def open_services(settings: Settings) -> None:
    """Makes the services of this process; opens no connection.

    Raises:
        StartError: an address, or a key that is sent, can't even be read.
    """
    with _named("MONGODB_URI"):
        MongoClient[dict[str, Any]](settings.mongodb_uri.get_secret_value(), connect=False).close()
    with _named("REDIS_URL"):
        extensions.redis_client(settings).close()
    if not settings.kms_api_key.get_secret_value().isascii():
        raise StartError("KMS_API_KEY must be of ASCII characters: copy the signer's own")
    extensions.init(settings)


@contextmanager
def _named(setting: str) -> Iterator[None]:
    try:
        yield
    except (ConfigurationError, ValueError) as error:
        words = logs.strip_credentials(str(error))
        raise StartError(f"{setting} can't be used, correct it: {words}") from None


def _find_problem(need: Need) -> str | None:
    try:
        need.check()
    except SettingsError as error:
        return str(error)
    return None


def _check_bitcoin() -> None:
    defects = self_test.find_defects()
    if defects:
        raise StartError(
            f"the Bitcoin code of this installation gives a wrong {' and '.join(defects)} for a "
            "known vector: install the release anew with the packages that it pins"
        )


def _check_database() -> None:
    with _asking_database():
        hello = extensions.get().database.admin.command("hello")
    if extensions.get().settings.is_production and not is_replicated(hello):
        raise StartError(
            "MONGODB_URI names a server that is of no replica set, so nothing written is safe: "
            "start mongod with --replSet and run rs.initiate()"
        )


def is_replicated(hello: Mapping[str, Any]) -> bool:
    """Whether a server that greets so is of a replica set, or leads to some."""
    return "setName" in hello or hello.get("msg") == "isdbgrid"


def _check_writing() -> None:
    current = extensions.get()
    with _asking_database():
        write_nothing(
            current.database[current.settings.db_name], wait_ms=int(DATABASE_SECONDS * 500)
        )


@contextmanager
def _asking_database() -> Iterator[None]:
    try:
        with pymongo.timeout(DATABASE_SECONDS):
            yield
    except WTimeoutError:
        raise StartError(
            "MONGODB_URI: a write is not acknowledged by a majority of the replica set: "
            "bring its members back"
        ) from None
    except PyMongoError as error:
        raise StartError(_explain(error)) from None


def _explain(error: PyMongoError) -> str:
    code = error.code if isinstance(error, OperationFailure) else None
    if code == _AUTHENTICATION_FAILED:
        return "MONGODB_URI: the database refuses its user or password: correct them"
    if code == _UNAUTHORIZED:
        name = extensions.get().settings.db_name
        return f"MONGODB_URI: its user may not write into DB_NAME {name}: grant it readWrite there"
    words = logs.strip_credentials(str(error)).split(", Timeout")[0].split(" (configured")[0]
    if words.startswith(_NOTHING_YET):
        words = f"silence for {DATABASE_SECONDS:.0f} seconds"
    return f"MONGODB_URI: the database does not answer, start it or correct the address: {words}"


def _check_migrations() -> None:
    try:
        with _asking_database():
            plan = migrating.plan()
            restored_at = migrating.find_restored_at()
    except InconsistentStateError as error:
        raise StartError(f"{error.message}: install the release anew") from None
    waiting = [*plan.migrations, *plan.indexes]
    if waiting:
        raise StartError(
            f"the database lacks migrations or indexes of this release ({'; '.join(waiting)}): "
            "run manage.py db migrate"
        )
    if restored_at is not None:
        raise StartError(
            f"the database came out of a dump at {restored_at:%Y-%m-%d %H:%M} and was not compared "
            "with the chain since: run manage.py db compare --repair"
        )


def _check_redis() -> None:
    client = extensions.redis_client(extensions.get().settings)
    client.set_retry(Retry(NoBackoff(), 0))
    try:
        client.ping()
    except AuthenticationError as error:
        raise StartError(
            f"REDIS_URL: Redis refuses its password, correct it or REDIS_PASSWORD: {error}"
        ) from None
    except RedisError as error:
        raise StartError(
            f"REDIS_URL: Redis does not answer, start it or correct the address: {error}"
        ) from None
    finally:
        client.close()


def _check_issuer() -> None:
    settings = extensions.get().settings
    name = settings.issuer_key_identifier
    found = _ask_for_key("ISSUER_KEY_IDENTIFIER", name)
    if found.to_hex() not in {key.lower() for key in settings.issuer_public_keys}:
        raise StartError(
            f"ISSUER_PUBLIC_KEYS lacks {found.to_hex()}, which is the signer's key {name!r} of "
            "ISSUER_KEY_IDENTIFIER: add it, and keep the older ones"
        )


def _check_funding() -> None:
    settings = extensions.get().settings
    name = settings.utxo_funding_key_identifier
    address = _ask_for_key("UTXO_FUNDING_KEY_IDENTIFIER", name).address(settings.woc_network)
    if address != settings.utxo_funding_address:
        raise StartError(
            f"UTXO_FUNDING_ADDRESS must be {address}, the address of the signer's key {name!r} of "
            f"UTXO_FUNDING_KEY_IDENTIFIER on the network {settings.woc_network.value}: "
            "correct one of the two"
        )


def _ask_for_key(setting: str, name: str) -> PublicKey:
    with _asking_signer(_signer_setting()):
        found = extensions.get().kms.get_public_key(name, budget_seconds=SIGNER_SECONDS)
    if found is None:
        raise StartError(
            f"{setting}: the signer holds no key named {name!r}: "
            "name one that `python -m signer list` shows"
        )
    return found


def _check_login() -> None:
    """Has the signer derive a secret that nobody needs."""
    stranger = PrivateKey.generate().public_key
    is_apart = extensions.get().settings.kms_svd_url is not None
    with _asking_signer("KMS_SVD_URL" if is_apart else "KMS_SIGN_URL"):
        try:
            extensions.get().kms.derive(
                svd.make_challenge(utc_now()), stranger, budget_seconds=LOGIN_SECONDS
            )
        except KmsRefusedError as error:
            raise StartError(
                f"the signer derives no secrets for logins ({error.reason}): "
                "give it a key with `python -m signer add-key NAME --purpose svd`"
            ) from None


@contextmanager
def _asking_signer(setting: str) -> Iterator[None]:
    try:
        yield
    except AuthenticationRefusedError:
        raise StartError(
            f"KMS_API_KEY: the signer at {setting} refuses it: set the key of the signer's own file"
        ) from None
    except ClientError as error:
        raise StartError(
            f"{setting}: the signer does not answer, start it or correct the address: "
            f"{error.reason}"
        ) from None


def _signer_setting() -> str:
    is_apart = extensions.get().settings.kms_tx_sign_url is not None
    return "KMS_TX_SIGN_URL" if is_apart else "KMS_SIGN_URL"


def _check_network() -> None:
    """A chain service that is away is waited for, as always; one of another chain never helps."""
    current = extensions.get()
    try:
        current.chain.get_chain_info(budget_seconds=CHAIN_SECONDS)
    except WrongNetworkError as error:
        raise StartError(
            f"WOC_NETWORK is {current.settings.woc_network.value}, but {error.reason}: "
            "correct it or WOC_BASE_URL"
        ) from None
    except ClientError as error:
        logger.warning("the chain is away: %s", error, extra={"event": "start.without_chain"})


_NEEDS = (
    Need("bitcoin code", "the installation", _check_bitcoin, tuple(Kind)),
    Need("database", "MONGODB_URI", _check_database),
    Need("writing", "MONGODB_URI", _check_writing),
    Need("migrations", "MONGODB_URI", _check_migrations, is_for_production_only=True),
    Need("API key", "API_KEY", api_keys.require_any, (Kind.WEB,), is_for_production_only=True),
    Need("redis", "REDIS_URL", _check_redis),
    Need("issuer's key", "KMS_SIGN_URL", _check_issuer),
    Need("funding key", "KMS_SIGN_URL", _check_funding),
    Need("login key", "KMS_SIGN_URL", _check_login, (Kind.WEB,)),
    Need("network", "WOC_BASE_URL", _check_network),
)
