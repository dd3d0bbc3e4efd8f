import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from hypothesis import given
from hypothesis import strategies as st

from app.bitcoin.addresses import Network
from app.bitcoin.errors import InvalidPrivateKeyError, InvalidPublicKeyError
from app.bitcoin.hashes import sha256
from app.bitcoin.keys import N, PrivateKey, PublicKey

VECTORS = Path(__file__).parents[2] / "vectors"
SVD = json.loads((VECTORS / "svd.json").read_text())["vectors"]
MESSAGES = json.loads((VECTORS / "signed_messages.json").read_text())
G = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
secrets = st.integers(1, N - 1)


def scalar(number: int) -> bytes:
    return number.to_bytes(32, "big")


def test_login_vector_gives_the_contracts_keys() -> None:
    vector = SVD[0]
    client, server = PrivateKey.from_hex(vector["pmc"]), PrivateKey.from_hex(vector["pms"])
    m = sha256(bytes.fromhex(vector["challenge"]))
    assert m.hex() == vector["m"]
    assert client.public_key.to_hex() == vector["pmc_public"]
    assert client.public_key.address(Network.MAIN) == vector["pmc_address_main"]
    assert server.public_key.to_hex() == vector["pms_public"]
    one_time = client.add(m)
    assert one_time.to_bytes().hex() == vector["p2c"]
    assert client.public_key.add(m).to_hex() == vector["v2c"] == one_time.public_key.to_hex()
    assert server.add(m).to_bytes().hex() == vector["p2s"]
    assert one_time.sign(m).hex() == vector["signature"]
    assert client.public_key.add(m).verify(bytes.fromhex(vector["signature"]), m)


@pytest.mark.parametrize("vector", SVD, ids=["full", "short x"])
def test_login_vectors_give_the_contracts_shared_point(vector: dict[str, str]) -> None:
    client, server = PrivateKey.from_hex(vector["pmc"]), PrivateKey.from_hex(vector["pms"])
    m = sha256(bytes.fromhex(vector["challenge"]))
    shared = server.add(m).multiply(client.public_key.add(m))
    assert shared.to_bytes()[1:].lstrip(b"\0").hex() == vector["x"]
    assert shared == client.add(m).multiply(server.public_key.add(m))


@pytest.mark.parametrize("name", sorted(MESSAGES["cases"]))
def test_f3_standard_signature_is_accepted_and_reversed_one_refused(name: str) -> None:
    case = MESSAGES["cases"][name]
    key = PrivateKey.from_hex(MESSAGES["private_key"])
    digest = bytes.fromhex(case["digest"])
    assert key.public_key.verify(bytes.fromhex(case["standard"]), digest)
    assert not key.public_key.verify(bytes.fromhex(case["reversed"]), digest)
    assert key.public_key.verify(bytes.fromhex(case["reversed"]), digest[::-1])
    assert key.sign(digest).hex() == case["standard"]


@given(secrets, st.binary(min_size=32, max_size=32))
def test_signatures_verify_with_another_library(secret: int, digest: bytes) -> None:
    key = PrivateKey.from_bytes(scalar(secret))
    other = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), key.public_key.to_bytes())
    algorithm = ec.ECDSA(utils.Prehashed(hashes.SHA256()))
    signature = key.sign(digest)
    other.verify(signature, digest, algorithm)
    assert key.public_key.verify(signature, digest)
    assert utils.decode_dss_signature(signature)[1] <= N // 2
    assert not key.public_key.verify(signature, sha256(digest))


@given(secrets, st.binary(min_size=32, max_size=32))
def test_s19_the_twin_with_high_s_does_not_verify(secret: int, digest: bytes) -> None:
    key = PrivateKey.from_bytes(scalar(secret))
    r, s = utils.decode_dss_signature(key.sign(digest))
    assert not key.public_key.verify(utils.encode_dss_signature(r, N - s), digest)


@given(st.binary(max_size=80))
def test_f29_any_bytes_for_a_signature_are_only_false(signature: bytes) -> None:
    key = PrivateKey.from_hex("11" * 32)
    assert key.public_key.verify(signature, bytes(32)) is False


def test_a_digest_of_another_length_is_a_programming_error(key: PrivateKey) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        key.sign(b"short")
    with pytest.raises(ValueError, match="32 bytes"):
        key.public_key.verify(key.sign(bytes(32)), b"short")


@given(secrets, secrets)
def test_adding_commutes_with_the_public_half(secret: int, number: int) -> None:
    key = PrivateKey.from_bytes(scalar(secret))
    if (secret + number) % N == 0:
        return
    assert key.add(scalar(number)).public_key == key.public_key.add(scalar(number))
    assert int.from_bytes(key.add(scalar(number)).to_bytes(), "big") == (secret + number) % N


@pytest.mark.parametrize(
    "number", [bytes(32), scalar(N), scalar(N + 1), b"\xff" * 32, b"\x01", bytes(31) + b"\x01\x01"]
)
def test_a_number_out_of_range_is_not_added(key: PrivateKey, number: bytes) -> None:
    with pytest.raises(InvalidPublicKeyError):
        key.public_key.add(number)
    with pytest.raises(InvalidPrivateKeyError):
        key.add(number)


def test_a_sum_of_nothing_is_refused(key: PrivateKey) -> None:
    negated = scalar(N - int.from_bytes(key.to_bytes(), "big"))
    with pytest.raises(InvalidPublicKeyError, match="infinity"):
        key.public_key.add(negated)
    with pytest.raises(InvalidPrivateKeyError, match="zero"):
        key.add(negated)


@pytest.mark.parametrize(
    "text",
    [
        "",
        G[:-2],
        G + "00",
        "04" + G[2:],
        "05" + G[2:],
        "00" * 33,
        "02" + "00" * 31 + "05",  # no point of the curve has this x
        "02" + "ff" * 32,
        " " + G[:-1],
        G + "\n",
        G[:-1] + "\uff10",
        "0x" + G[2:],
        "04" + "11" * 64,
    ],
)
def test_f29_malformed_public_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidPublicKeyError):
        PublicKey.from_hex(text)


@pytest.mark.parametrize("value", [None, 2, b"02", ["02"]])
def test_a_public_key_is_text(value: object) -> None:
    with pytest.raises(InvalidPublicKeyError):
        PublicKey.from_hex(value)  # type: ignore[arg-type]


def test_uncompressed_and_hybrid_encodings_are_refused(key: PrivateKey) -> None:
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), key.public_key.to_bytes())
    numbers = point.public_numbers()
    body = scalar(numbers.x) + scalar(numbers.y)
    for prefix in (b"\x04", b"\x06", b"\x07"):
        with pytest.raises(InvalidPublicKeyError):
            PublicKey.from_bytes(prefix + body)


def test_public_keys_are_values_whatever_the_case_of_their_hex() -> None:
    upper, lower = PublicKey.from_hex(G.upper()), PublicKey.from_hex(G)
    assert upper == lower
    assert len({upper, lower}) == 1
    assert upper.to_hex() == G
    assert G in repr(upper)


@given(st.binary(max_size=40))
def test_any_bytes_are_a_public_key_or_an_error(raw: bytes) -> None:
    try:
        assert PublicKey.from_bytes(raw).to_bytes() == raw
    except InvalidPublicKeyError:
        return


@given(st.text(max_size=80))
def test_any_text_is_a_key_or_an_error(text: str) -> None:
    with pytest.raises(InvalidPublicKeyError):
        PublicKey.from_hex(text)
    with pytest.raises(InvalidPrivateKeyError):
        PrivateKey.from_hex(text)
    with pytest.raises(InvalidPrivateKeyError):
        PrivateKey.from_wif(text)


@pytest.mark.parametrize("secret", [bytes(32), scalar(N), b"\xff" * 32, b"\x11" * 31])
def test_a_private_key_out_of_range_is_refused(secret: bytes) -> None:
    with pytest.raises(InvalidPrivateKeyError):
        PrivateKey.from_bytes(secret)


@given(secrets, st.sampled_from(Network))
def test_wallet_import_format_round_trips(secret: int, network: Network) -> None:
    key = PrivateKey.from_bytes(scalar(secret))
    assert PrivateKey.from_wif(key.to_wif(network)) == key


def test_wallet_import_format_is_the_published_one() -> None:
    key = PrivateKey.from_bytes(scalar(1))
    assert key.to_wif(Network.MAIN) == "KwDiBf89QgGbjEhKnhXJuH7LrciVrZi3qYjgd9M7rFU73sVHnoWn"
    assert key.to_wif(Network.TEST) == "cMahea7zqjxrtgAbB7LSGbcQUr1uX1ojuat9jZodMN87JcbXMTcA"


@pytest.mark.parametrize(
    "text",
    [
        "5HpHagT65TZzG1PH3CSu63k8DbpvD8s5ip4nEB3kEsreAnchuDf",  # of an uncompressed key
        "KwDiBf89QgGbjEhKnhXJuH7LrciVrZi3qYjgd9M7rFU73sVHnoWo",  # wrong checksum
        "1Q1pE5vPGEEMqRcVRMbtBK842Y6Pzo6nK9",  # an address
        "K" * 4000,
    ],
)
def test_other_text_is_no_wallet_import_format(text: str) -> None:
    with pytest.raises(InvalidPrivateKeyError) as caught:
        PrivateKey.from_wif(text)
    assert text not in str(caught.value)


def test_generated_keys_differ_and_hash_as_values() -> None:
    first, second = PrivateKey.generate(), PrivateKey.generate()
    assert first != second
    assert len({first, PrivateKey.from_bytes(first.to_bytes()), second}) == 2


def test_a_private_key_shows_no_secret(key: PrivateKey) -> None:
    for shown in (repr(key), str(key), f"{key}", f"{[key]}"):
        assert "11111111" not in shown
        assert key.public_key.to_hex() in shown
