"""schemathesis sends what the document allows and what it forbids; every answer is documented.

`make fuzz` sends more, with another seed each time: FUZZ_EXAMPLES says how many a route.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import schemathesis
from flask import Flask
from flask.testing import FlaskClient
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from app import create_app, extensions
from app.domain.messages import claim_message
from app.services import tokens
from devnet.supervisor import Devnet
from tests.contracts.conftest import ENVIRON
from tests.integration.services.lab import PATIENCE, Lab, Owner

EXAMPLES = os.environ.get("FUZZ_EXAMPLES")
CONFIG = {
    "generation": {"deterministic": EXAMPLES is None, "max-examples": int(EXAMPLES or 8)},
}
SETTINGS = {
    **PATIENCE,
    "JOBS_ASYNC": "1",
    "AUTH_REQUEST_MAX": "1000000",
    "AUTH_SUBMIT_MAX": "1000000",
    "AUTH_SUBMIT_IDENTIFIER_MAX": "1000000",
    "VERIFY_CODE_SALT_ROUNDS": "4",
    "SVD_CHALLENGE_TTL_SEC": "3600",
    "CLAIM_INTENT_TTL_MS": "3600000",
}
UID = f"NFC-{secrets.token_hex(4)}"
USER = secrets.token_hex(12)
OWNER = Owner()
CUSTOMER = Owner()
_ADDRESS = r"[1-9A-HJ-NP-Za-km-z]{25,35}"
_TEXT = r"[^\x00-\x1f\x7f]{3,128}"
_HASH = r"[0-9a-fA-F]{64}"
_SIGNATURE = r"30([0-9a-fA-F]{2}){7,71}"
_POINT = r"[0-9a-fA-F]{66}"
# Good values by the names of their fields: what looks alike is replaced by them.
PLANTED = {
    "uid_tag_id": (_TEXT, UID),
    "uid": (_TEXT, UID),
    "owner": (_ADDRESS, OWNER.address),
    "newOwnerAddress": (_ADDRESS, CUSTOMER.address),
    "address": (_ADDRESS, CUSTOMER.address),
    "pubKey": (_POINT, CUSTOMER.public_key_hex),
    "ownerPubKey": (_POINT, OWNER.public_key_hex),
    "currentOwnerPubKey": (_POINT, OWNER.public_key_hex),
    "ownerSignature": (_SIGNATURE, OWNER.sign(b"another message")),
    "currentOwnerSignature": (_SIGNATURE, OWNER.sign(b"another message")),
    "signature": (_SIGNATURE, CUSTOMER.sign(b"another message")),
    "signatureHex": (_SIGNATURE, OWNER.sign(b"another message")),
    "userId": (r"[0-9a-fA-F]{24}", USER),
    "pmcHex": (_POINT, OWNER.public_key_hex),
    "newPmcHex": (_POINT, CUSTOMER.public_key_hex),
}


@contextmanager
def logging_as_before() -> Iterator[None]:
    """Leaves the log as it was, whatever the application does to it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


with logging_as_before():
    # Serving the document opens no connection; requests go to the application of the fixture.
    schema = schemathesis.openapi.from_wsgi(
        "/openapi.json",
        create_app(environ=ENVIRON),
        config=schemathesis.Config.from_dict(CONFIG),
    )


def plant(case: schemathesis.Case) -> None:
    """Puts what exists in the place of what looks alike, so that good requests get further."""
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    for part in (case.path_parameters, case.body):
        if isinstance(part, dict):
            _plant(part)


def _plant(members: dict[str, Any]) -> None:
    for name, value in members.items():
        if isinstance(value, dict):
            _plant(value)
        else:
            members[name] = _planted(name, value)


def _planted(name: str, value: Any) -> Any:
    if name == "ts" and type(value) is int:
        return time.time_ns() // 1_000_000 - value % 1000
    shape, known = PLANTED.get(name, (r"(?!)", ""))
    is_alike = isinstance(value, str) and re.fullmatch(shape, value.strip())
    # Some stay as they were drawn: an unknown uid, an address with a wrong checksum.
    return known if is_alike and sum(value.encode()) % 4 else value


@dataclass
class World:
    """The application on a running devnet, with one patch and who may ask for it."""

    app: Flask
    api_key: str

    def credentials(self) -> dict[str, str]:
        """A good key and a token that nobody has logged out yet."""
        return {"x-api-key": self.api_key, "Authorization": f"Bearer {tokens.issue('somebody')}"}


@pytest.fixture(scope="module")
def world(devnet: Devnet) -> Iterator[World]:
    with logging_as_before():
        lab = Lab(devnet)
        app = create_app(environ={**devnet.env, **SETTINGS})
        extensions.ensure_indexes()
        lab.begin()
        lab.fill_pool(2)
        record = lab.registered(UID, OWNER)
        PLANTED["record_id"] = (r".{8,128}", str(record.id))
        PLANTED["txid"] = (_HASH, str(record.head))
        _sow(app.test_client())
        schema.app = app
        yield World(app, devnet.env["API_KEY"])
        lab.close()


def _sow(client: FlaskClient) -> None:
    """Makes a user with a challenge and a claim that waits, and plants them."""

    def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
        response = client.post(path, json=body)
        assert response.status_code in (200, 201, 409), response.get_data(as_text=True)
        return dict(response.json or {})

    post("/api/svd/register", {"userId": USER, "pmcHex": OWNER.public_key_hex})
    PLANTED["M"] = (r"[0-9a-fA-F]{48}", post("/api/svd/begin", {"userId": USER})["M"])
    nonce = post("/api/svd/register-challenge", {"userId": USER})["nonce"]
    PLANTED["nonce"] = (r"[0-9a-fA-F]{48}", nonce)
    ts = time.time_ns() // 1_000_000
    message = claim_message(UID, CUSTOMER.address, ts, "once-and-for-all")
    claim = {
        "uid": UID,
        "customer": {
            "address": CUSTOMER.address,
            "userId": "customer-1",
            "pubKey": CUSTOMER.public_key_hex,
        },
        "challenge": {"ts": ts, "nonce": "once-and-for-all"},
        "signature": CUSTOMER.sign(message),
    }
    PLANTED["claim_id"] = (r".{1,128}", post("/v1/pos/claim-intent", claim)["id"])
    PLANTED["intentId"] = PLANTED["claim_id"]


@schema.parametrize()
def test_f29_every_answer_is_documented(case: schemathesis.Case, world: World) -> None:
    plant(case)
    case.call_and_validate(
        headers=world.credentials(),
        app=world.app,
        # A point may be off the curve, an address of another network: more than a schema can say.
        excluded_checks=[positive_data_acceptance],
    )
