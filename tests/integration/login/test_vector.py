"""The published vectors, through the whole service and a signer with the published key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import jwt
import pytest
from werkzeug.serving import make_server

from app import extensions
from app.bitcoin.addresses import Network
from app.bitcoin.keys import PrivateKey
from app.services import challenges
from app.services.challenges import Challenge, Purpose
from signer.keyring import KeyRing, SignerKey
from signer.keyring import Purpose as KeyPurpose
from signer.web import create_app
from tests.integration.api.caller import Caller
from tests.integration.login.conftest import UNLIMITED
from tests.integration.login.people import Person

VECTORS: list[dict[str, str]] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "svd.json").read_text()
)["vectors"]


@pytest.fixture
def signer_url(caller: Caller) -> Iterator[str]:
    """The signer's web side with the vectors' server key."""
    key = SignerKey("svd", frozenset({KeyPurpose.SVD}), PrivateKey.from_hex(VECTORS[0]["pms"]))
    app = create_app(KeyRing([key]), caller.lab.env["KMS_API_KEY"], Network.REGTEST)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("vector", VECTORS, ids=["first", "short X"])
def test_a_login_of_the_vectors_gives_their_proof(
    caller: Caller, signer_url: str, vector: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    caller.start(**UNLIMITED, KMS_SVD_URL=signer_url)
    person = Person(caller, PrivateKey.from_hex(vector["pmc"]), vector["user_id"])
    person.register()
    value = bytes.fromhex(vector["challenge"])
    made_at = datetime.fromtimestamp(int.from_bytes(value[:8], "big"), UTC)
    monkeypatch.setattr(challenges, "utc_now", lambda: made_at + timedelta(seconds=5))
    challenge = Challenge(Purpose.LOGIN, person.user_id, value)
    extensions.get().redis.set(challenge._key, f"{person.user_id}:0", ex=180)

    response = person.complete(vector["challenge"], vector.get("signature"))

    assert response.status_code == 200
    token = response.json["token"]
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["cnf"]["svd_proof"] == vector["svd_proof"]
    assert claims["sub"] == vector["user_id"]
    assert jwt.get_unverified_header(token)["kid"] == VECTORS[0]["local_kid"]
    assert claims["jti"] == vector.get("m", claims["cnf"]["msha256"])
