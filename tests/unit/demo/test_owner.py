"""Owners sign as the contract says."""

from __future__ import annotations

from app.bitcoin.addresses import Network
from app.bitcoin.keys import PrivateKey, PublicKey
from app.domain.messages import digest
from demo.owner import Owner


def test_owner_signs_the_one_sha256_of_a_message() -> None:
    owner = Owner(Network.REGTEST)
    key = PublicKey.from_hex(owner.public_key_hex)
    assert key.verify(bytes.fromhex(owner.sign(b"a message")), digest(b"a message"))
    assert not key.verify(bytes.fromhex(owner.sign(b"a message")), digest(b"another"))


def test_address_is_of_the_network_and_keys_differ() -> None:
    key = PrivateKey.from_hex("11" * 32)
    assert Owner(Network.MAIN, key).address == "1Q1pE5vPGEEMqRcVRMbtBK842Y6Pzo6nK9"
    assert Owner(Network.REGTEST, key).address[0] in "mn"
    assert Owner(Network.REGTEST).address != Owner(Network.REGTEST).address


def test_no_secret_is_shown() -> None:
    key = PrivateKey.from_hex("11" * 32)
    assert "11" * 8 not in repr(Owner(Network.MAIN, key))
