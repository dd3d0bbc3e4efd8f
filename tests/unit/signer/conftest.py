"""Keys of the published vectors and a signer over them."""

import pytest
from flask.testing import FlaskClient

from app.bitcoin.addresses import Network
from app.bitcoin.keys import PrivateKey
from signer.keyring import KeyRing, Purpose, SignerKey
from signer.web import create_app

API_KEY = "unit-test-api-key"


def make_key(name: str, byte: str, *purposes: Purpose) -> SignerKey:
    return SignerKey(name, frozenset(purposes), PrivateKey.from_hex(byte * 32))


@pytest.fixture
def keyring() -> KeyRing:
    return KeyRing(
        [
            make_key("issuer-1", "11", Purpose.ISSUER),
            make_key("pool-1", "33", Purpose.FUNDING),
            make_key("login-1", "22", Purpose.SVD),
        ]
    )


@pytest.fixture
def anonymous(keyring: KeyRing) -> FlaskClient:
    return create_app(keyring, API_KEY, Network.MAIN).test_client()


@pytest.fixture
def client(anonymous: FlaskClient) -> FlaskClient:
    anonymous.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {API_KEY}"
    return anonymous
