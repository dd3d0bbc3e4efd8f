"""A small client of the HTTP API, as a brand's backend or an owner's phone would have it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import requests
from pydantic import BaseModel, ConfigDict, Field
from requests.adapters import HTTPAdapter

from app.domain.messages import transfer_message, unlock_message
from demo.catalogue import Product
from demo.errors import DemoError, RefusedError
from demo.owner import Owner

TIMEOUT_SECONDS = (3.0, 30.0)
POLL_SECONDS = 0.05
CONNECTIONS = 32

Kind = Literal["registration", "transfer"]
AnswerT = TypeVar("AnswerT", bound="Answer")


class Answer(BaseModel):
    """What the API says; members that the demo does not need are passed over."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)


class Accepted(Answer):
    """A record is kept and will be anchored."""

    uid_tag_id: str
    pending_id: str = Field(alias="pendingId")


class Pending(Answer):
    """How far a record is; `error` says why it waits or has failed."""

    id: str
    status: Literal["pending", "anchoring", "confirmed", "failed"]
    txid: str | None
    error: str | None


class Details(Answer):
    """What verify has checked."""

    issuer_signature_valid: bool = Field(alias="issuerSignatureValid")
    txid: str = Field(alias="onChainTxid")
    block_height: int | None = Field(alias="blockHeight")
    confirmations: int | None
    findings: list[str]


class Verification(Answer):
    """Whether a patch is authentic, and its current record."""

    status: Literal["authentic", "compromised"]
    record: dict[str, Any]
    metadata_sha256: str
    details: Details = Field(alias="verificationDetails")


class CustodyEvent(Answer):
    """One step of a patch's life; `anchor_txid` is the transaction that carries it."""

    kind: Literal["REGISTRATION", "TRANSFER"]
    txid: str
    anchor_txid: str
    prev_txid: str | None
    owner: str
    block_height: int | None
    confirmations: int | None


class History(Answer):
    """The line of custody, oldest first."""

    events: list[CustodyEvent]


class Challenge(Answer):
    """A nonce to sign, good for one unlocking."""

    nonce: str


class Unlocked(Answer):
    """The owner proved to be one; `content` where something sealed was sent along."""

    authorized: bool
    txid: str
    content: str | None = None


class PatchProofClient:
    """Speaks to one API. Threads may share it. Refusals raise RefusedError."""

    def __init__(self, base_url: str, api_key: str) -> None:
        self.base_url = base_url.rstrip("/")
        self._api_key = {"x-api-key": api_key}
        self._is_closed = False
        self._session = requests.Session()
        self._session.mount("http://", HTTPAdapter(pool_maxsize=CONNECTIONS))

    def close(self) -> None:
        """Ends whatever waits, in other threads too: their next request raises DemoError."""
        self._is_closed = True
        self._session.close()

    def register(self, product: Product, owner_address: str) -> Accepted:
        """Registers a product's patch for its first owner."""
        body = {
            "product": dict(product.product),
            "metadata": dict(product.metadata),
            "auth": {"owner": owner_address},
        }
        return self._post("/v1/patches", body, Accepted, self._api_key)

    def transfer(
        self, uid_tag_id: str, txid: str, owner: Owner, new_owner_address: str, token: str
    ) -> Accepted:
        """Hands the patch with this head on; the owner's signature is the authority."""
        message = transfer_message(uid_tag_id, txid, new_owner_address)
        body = {
            "newOwnerAddress": new_owner_address,
            "currentOwnerSignature": owner.sign(message),
            "currentOwnerPubKey": owner.public_key_hex,
        }
        headers = {"Authorization": f"Bearer {token}"}
        return self._post(f"/v1/patches/{txid}/transfer-ownership", body, Accepted, headers)

    def get_pending(self, kind: Kind, pending_id: str) -> Pending:
        """Asks how far an accepted record is."""
        return self._get(f"/v1/patches/pending/{kind}/{pending_id}", Pending)

    def wait_until_confirmed(self, kind: Kind, accepted: Accepted, *, seconds: float) -> str:
        """Asks until the network has accepted a record's transaction; answers its txid."""
        deadline = time.monotonic() + seconds
        while True:
            pending = self.get_pending(kind, accepted.pending_id)
            if pending.status == "confirmed" and pending.txid is not None:
                return pending.txid
            if pending.status == "failed":
                raise DemoError(f"the {kind} of {accepted.uid_tag_id} failed: {pending.error}")
            if time.monotonic() > deadline:
                why = f", it says: {pending.error}" if pending.error else ""
                raise DemoError(
                    f"the {kind} of {accepted.uid_tag_id} is still {pending.status} "
                    f"after {seconds:.0f} seconds{why}"
                )
            time.sleep(POLL_SECONDS)

    def verify(self, uid_tag_id: str) -> Verification:
        """Asks whether a patch is authentic."""
        return self._get(f"/v1/patches/verify/{_segment(uid_tag_id)}", Verification)

    def list_custody(self, uid_tag_id: str) -> list[CustodyEvent]:
        """Lists where a patch has been, oldest first."""
        return self._get(f"/v1/patches/{_segment(uid_tag_id)}/history", History).events

    def create_challenge(self, uid_tag_id: str) -> str:
        """Asks for a nonce for the owner to sign."""
        path = f"/v1/patches/{_segment(uid_tag_id)}/unlock-challenge"
        return self._post(path, None, Challenge, self._api_key).nonce

    def unlock(
        self, uid_tag_id: str, txid: str, owner: Owner, nonce: str, sealed: Mapping[str, str]
    ) -> Unlocked:
        """Proves ownership with a signed nonce and opens sealed content."""
        body = {
            "ownerPubKey": owner.public_key_hex,
            "ownerSignature": owner.sign(unlock_message(uid_tag_id, txid, nonce)),
            "nonce": nonce,
            **sealed,
        }
        path = f"/v1/patches/{_segment(uid_tag_id)}/unlock-content"
        return self._post(path, body, Unlocked, self._api_key)

    def _post(
        self,
        path: str,
        body: Mapping[str, Any] | None,
        model: type[AnswerT],
        headers: Mapping[str, str],
    ) -> AnswerT:
        return self._send("POST", path, model, json=body, headers=headers)

    def _get(self, path: str, model: type[AnswerT]) -> AnswerT:
        return self._send("GET", path, model)

    def _send(self, method: str, path: str, model: type[AnswerT], **options: Any) -> AnswerT:
        if self._is_closed:
            raise DemoError("the run was given up")
        url = self.base_url + path
        return _read(self._session.request(method, url, timeout=TIMEOUT_SECONDS, **options), model)


def _read(response: requests.Response, model: type[AnswerT]) -> AnswerT:
    if response.ok:
        return model.model_validate_json(response.content)
    try:
        body = response.json()
        code, message = str(body["code"]), str(body["message"])
    except (ValueError, LookupError, TypeError):
        code, message = "unreadable", response.text[:200]
    raise RefusedError(response.status_code, code, message)


def _segment(text: str) -> str:
    return quote(text, safe="")
