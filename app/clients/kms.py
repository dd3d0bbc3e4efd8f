"""The client of the signer (KMS), the only holder of private keys."""

import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.bitcoin.errors import InvalidPublicKeyError, InvalidSignatureError
from app.bitcoin.keys import PublicKey
from app.bitcoin.signatures import parse_signature_der
from app.clients.outcomes import ClientError, ServiceUnavailableError, UnexpectedAnswerError
from app.clients.transport import CallPolicy, HttpAnswer, HttpTransport, parse_json

logger = logging.getLogger(__name__)

SERVICE = "kms"
MAX_BATCH_SIZE = 1000
PING_SECONDS = 3.0
_MIN_SECRET_BYTES = 16


class KmsAnswerError(UnexpectedAnswerError):
    """The signer's answer failed a check; nothing of it may be used."""


class KmsRefusedError(ClientError):
    """The signer refused the request as such (4xx); the same request fails again."""


@dataclass(frozen=True)
class SignRequest:
    """A 32-byte digest, in natural order, to be signed with the named key."""

    key_identifier: str
    digest: bytes

    def __post_init__(self) -> None:
        if len(self.digest) != 32:
            raise ValueError("a digest has 32 bytes")


@dataclass(frozen=True)
class KmsSignature:
    """A strict, low-S DER signature that verifies against its key and the digest asked for."""

    signature_der: bytes
    public_key: PublicKey


@dataclass(frozen=True)
class DerivedSecret:
    """The signer's secret for one challenge, and the name of the key it was made with."""

    secret: bytes = field(repr=False)
    kid: str | None


class KmsClient:
    """Asks the signer for signatures and login secrets; all its calls may be repeated safely.

    Silence, 429 and 5xx are tried again after 1 s and 2 s within `budget_seconds` for the
    whole call, then raise ServiceUnavailableError; 401 and 403 raise AuthenticationRefusedError.
    """

    def __init__(  # noqa: PLR0913 - one plain setting each
        self,
        base_url: str,
        *,
        api_key: str | None,
        svd_base_url: str | None = None,
        timeout_seconds: float = 15.0,
        attempts: int = 3,
        budget_seconds: float = 20.0,
        sleep: Callable[[float], None] = time.sleep,
        random_unit: Callable[[], float] = random.random,
    ) -> None:
        policy = CallPolicy(
            attempts=attempts,
            timeout_seconds=timeout_seconds,
            budget_seconds=budget_seconds,
            first_delay_seconds=1.0,
            jitter=(1.0, 1.25),
        )
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else None
        self._budget_seconds = budget_seconds
        self._signer, self._svd = (
            HttpTransport(
                SERVICE,
                url,
                policy=policy,
                auth_headers=headers,
                sleep=sleep,
                random_unit=random_unit,
            )
            for url in (base_url, svd_base_url or base_url)
        )

    def close(self) -> None:
        """Close the pooled connections."""
        self._signer.close()
        self._svd.close()

    def ping(self) -> None:
        """Return when the signer is up and its keys are unlocked, else raise."""
        answer = self._signer.call("GET", "/health", attempts=1, budget_seconds=PING_SECONDS)
        health = parse_json(SERVICE, answer)
        if not isinstance(health, dict) or health.get("status") != "ok":
            raise UnexpectedAnswerError(SERVICE, "the health answer is odd")
        if health.get("locked", False) is not False:
            raise ServiceUnavailableError(SERVICE, "the keys are locked")

    def sign(
        self, requests: Sequence[SignRequest], *, budget_seconds: float | None = None
    ) -> list[KmsSignature]:
        """Return one verified signature for each request, in order, or none at all.

        The whole batch goes in one call, up to MAX_BATCH_SIZE; more go in several within one
        budget. Raises KmsAnswerError when a single entry is wrong.
        """
        deadline = time.monotonic() + (budget_seconds or self._budget_seconds)
        signatures: list[KmsSignature] = []
        for start in range(0, len(requests), MAX_BATCH_SIZE):
            batch = requests[start : start + MAX_BATCH_SIZE]
            signatures += self._sign_batch(batch, deadline - time.monotonic())
        return signatures

    def _sign_batch(
        self, batch: Sequence[SignRequest], budget_seconds: float
    ) -> list[KmsSignature]:
        if budget_seconds <= 0:
            raise ServiceUnavailableError(SERVICE, "out of time before the whole batch was signed")
        started = time.monotonic()
        body = [{"keyIdentifier": r.key_identifier, "sighash": r.digest.hex()} for r in batch]
        answer = self._signer.call(
            "POST", "/sign", json_body={"requests": body}, budget_seconds=budget_seconds
        )
        entries = _fields(answer, "signatures").get("signatures")
        if not isinstance(entries, list) or len(entries) != len(batch):
            raise KmsAnswerError(SERVICE, "the answer has not one signature for each request")
        signatures = [_check(entry, r) for entry, r in zip(entries, batch, strict=True)]
        logger.info(
            "digests signed",
            extra={
                "event": "digests_signed",
                "service": SERVICE,
                "count": len(batch),
                "duration_ms": round((time.monotonic() - started) * 1000),
            },
        )
        return signatures

    def get_public_key(
        self, key_identifier: str, *, budget_seconds: float | None = None
    ) -> PublicKey | None:
        """Return the public key of a name, or None when the signer has no such key."""
        answer = self._signer.call(
            "GET",
            "/pubkey",
            params={"keyIdentifier": key_identifier},
            budget_seconds=budget_seconds,
        )
        if answer.status == 404 and not answer.is_markup:
            return None
        fields = _fields(answer, "public key")
        if fields.get("keyIdentifier", key_identifier) != key_identifier:
            raise KmsAnswerError(SERVICE, "the public key is of another name")
        return _public_key(fields.get("compressedPubkeyHex"))

    def derive_secret(
        self, challenge: bytes, public_key: PublicKey, *, budget_seconds: float | None = None
    ) -> bytes:
        """Return the secret shared by the signer and the owner of a public master key."""
        return self.derive(challenge, public_key, budget_seconds=budget_seconds).secret

    def derive(
        self, challenge: bytes, public_key: PublicKey, *, budget_seconds: float | None = None
    ) -> DerivedSecret:
        """Return the shared secret and the name of the signer's key, for the token's header."""
        answer = self._svd.call(
            "POST",
            "/svd/derive-secret",
            json_body={"Mhex": challenge.hex(), "pmcHex": public_key.to_hex()},
            budget_seconds=budget_seconds,
        )
        fields = _fields(answer, "shared secret")
        kid = fields.get("kid")
        if kid is not None and not isinstance(kid, str):
            raise KmsAnswerError(SERVICE, "kid is not text")
        return DerivedSecret(_secret(fields.get("sharedSecretHex")), kid or None)


def _fields(answer: HttpAnswer, what: str) -> dict[str, Any]:
    if 400 <= answer.status < 500 and not answer.is_markup:
        raise KmsRefusedError(SERVICE, f"refused ({answer.status}): {answer.words}")
    try:
        value = parse_json(SERVICE, answer)
    except UnexpectedAnswerError as error:
        raise KmsAnswerError(SERVICE, error.reason) from error
    if not isinstance(value, dict):
        raise KmsAnswerError(SERVICE, f"the {what} answer is not an object")
    return value


def _check(entry: Any, request: SignRequest) -> KmsSignature:
    if not isinstance(entry, dict) or not isinstance(entry.get("signatureHex"), str):
        raise KmsAnswerError(SERVICE, "an entry has no signature")
    public_key = _public_key(entry.get("pubKeyHex"))
    try:
        signature_der = parse_signature_der(entry["signatureHex"])
    except InvalidSignatureError as error:
        raise KmsAnswerError(SERVICE, f"a signature is not valid: {error}") from error
    if not public_key.verify(signature_der, request.digest):
        raise KmsAnswerError(SERVICE, "a signature does not verify")
    return KmsSignature(signature_der, public_key)


def _public_key(value: Any) -> PublicKey:
    try:
        return PublicKey.from_hex(value if isinstance(value, str) else "")
    except InvalidPublicKeyError as error:
        raise KmsAnswerError(SERVICE, "a public key is not valid") from error


def _secret(value: Any) -> bytes:
    # These words must never carry the value.
    try:
        secret = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        secret = b""
    if len(secret) < _MIN_SECRET_BYTES:
        raise KmsAnswerError(SERVICE, "the shared secret is not valid")
    return secret
