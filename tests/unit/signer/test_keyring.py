"""Names, purposes and secrets of the keys in memory."""

import pytest

from app.bitcoin.addresses import Network
from app.bitcoin.keys import PrivateKey
from signer.errors import KeyRefusedError
from signer.keyring import KeyRing, Purpose, SignerKey, read_private_key

SECRET = "11" * 32


def make_key(name: str, byte: str, *purposes: Purpose) -> SignerKey:
    return SignerKey(name, frozenset(purposes), PrivateKey.from_hex(byte * 32))


@pytest.mark.parametrize("name", ["", "-a", "a b", "a\n", "é", "a" * 129, "a\x00", "/a"])
def test_unusable_names_are_refused(name: str) -> None:
    with pytest.raises(KeyRefusedError, match="name"):
        make_key(name, "11", Purpose.ISSUER)


@pytest.mark.parametrize("name", ["a", "issuer-1", "arn:aws:kms/key_1.x", "a" * 128])
def test_usable_names_are_taken(name: str) -> None:
    assert make_key(name, "11", Purpose.ISSUER).identifier == name


def test_key_without_purpose_is_refused() -> None:
    with pytest.raises(KeyRefusedError, match="at least one purpose"):
        make_key("a", "11")


@pytest.mark.parametrize("other", [Purpose.ISSUER, Purpose.FUNDING])
def test_login_key_has_no_second_purpose(other: Purpose) -> None:
    with pytest.raises(KeyRefusedError, match="svd cannot have another"):
        make_key("a", "11", Purpose.SVD, other)


def test_only_issuer_and_funding_keys_sign() -> None:
    assert make_key("a", "11", Purpose.ISSUER).may_sign
    assert make_key("a", "11", Purpose.FUNDING).may_sign
    assert not make_key("a", "11", Purpose.SVD).may_sign


def test_newest_login_key_is_the_one_in_use() -> None:
    old, new = make_key("old", "22", Purpose.SVD), make_key("new", "23", Purpose.SVD)
    ring = KeyRing([old, make_key("issuer", "11", Purpose.ISSUER)])
    assert ring.find_login_key() == old
    assert ring.with_key(new).find_login_key() == new
    assert KeyRing().find_login_key() is None


def test_kid_is_that_of_the_published_vector() -> None:
    assert make_key("login", "22", Purpose.SVD).kid == "svd-9946bb84db1a672b"


def test_text_form_shows_no_secret() -> None:
    assert SECRET not in repr(make_key("a", "11", Purpose.ISSUER))


@pytest.mark.parametrize("network", list(Network))
def test_hex_and_wif_are_read(network: Network) -> None:
    key = PrivateKey.from_hex(SECRET)
    assert read_private_key(SECRET + "\n") == key
    assert read_private_key(SECRET.upper()) == key
    assert read_private_key(f"  {key.to_wif(network)}\r\n") == key


@pytest.mark.parametrize(
    "text", ["", "11" * 31, "11" * 33, "00" * 32, "ff" * 32, "xyz", SECRET[:-1] + "g"]
)
def test_refused_key_is_not_repeated(text: str) -> None:
    with pytest.raises(KeyRefusedError) as refused:
        read_private_key(text)
    assert str(refused.value) == (
        "The imported text is neither a private key of 64 hexadecimal characters nor a WIF."
    )
