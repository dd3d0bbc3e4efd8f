"""The signer's client against the real signer, and against a signer that lies."""

import hashlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.bitcoin.keys import N, PrivateKey
from app.clients.kms import (
    KmsAnswerError,
    KmsClient,
    KmsRefusedError,
    SignRequest,
)
from app.clients.outcomes import (
    AuthenticationRefusedError,
    ServiceUnavailableError,
    UnexpectedAnswerError,
)
from tests.integration.clients.conftest import RunningSigner
from tests.integration.clients.scripted_server import (
    WEB_PAGE,
    Reply,
    ScriptedServer,
    json_reply,
)

KEY = PrivateKey.from_hex("11" * 32)
OTHER_KEY = PrivateKey.from_hex("22" * 32)
CHALLENGE = bytes.fromhex("000000006500000000000000000000000000000000000028")


@pytest.fixture
def kms(signer: RunningSigner) -> Iterator[KmsClient]:
    """Yield a client of the real signer."""
    client = KmsClient(signer.url, api_key=signer.api_key)
    yield client
    client.close()


@pytest.fixture
def liar(scripted: ScriptedServer, sleep: Callable[[float], None]) -> Iterator[KmsClient]:
    """Yield a client of the scripted server."""
    client = KmsClient(
        scripted.url, api_key="bearer", timeout_seconds=5.0, sleep=sleep, random_unit=lambda: 0.0
    )
    yield client
    client.close()


def digests(count: int) -> list[bytes]:
    return [hashlib.sha256(str(n).encode()).digest() for n in range(count)]


def entry(digest: bytes, key: PrivateKey = KEY) -> dict[str, Any]:
    return {"signatureHex": key.sign(digest).hex(), "pubKeyHex": key.public_key.to_hex()}


def high_s(signature_der: bytes) -> str:
    r_length = signature_der[3]
    r_part = signature_der[2 : 4 + r_length]
    s = N - int.from_bytes(signature_der[6 + r_length :], "big")
    s_bytes = s.to_bytes(33, "big").lstrip(b"\x00")
    s_bytes = b"\x00" + s_bytes if s_bytes[0] & 0x80 else s_bytes
    body = r_part + b"\x02" + bytes([len(s_bytes)]) + s_bytes
    return (b"\x30" + bytes([len(body)]) + body).hex()


def test_s20_a_batch_of_two_keys_comes_back_in_order_and_verified(
    kms: KmsClient, signer: RunningSigner
) -> None:
    names = ["issuer-1", "funding-1"] * 50
    requests = [SignRequest(n, d) for n, d in zip(names, digests(100), strict=True)]

    signatures = kms.sign(requests)

    assert [s.public_key.to_hex() for s in signatures] == [
        signer.keys[name]["publicKeyHex"] for name in names
    ]
    for signature, request in zip(signatures, requests, strict=True):
        assert signature.public_key.verify(signature.signature_der, request.digest)


def test_f4_the_digest_reaches_the_signer_in_natural_order(
    scripted: ScriptedServer, liar: KmsClient
) -> None:
    digest = bytes(range(32))
    scripted.prepare(json_reply({"signatures": [entry(digest)]}))

    signature = liar.sign([SignRequest("pool", digest)])[0]

    assert scripted.seen[0].json == {
        "requests": [{"keyIdentifier": "pool", "sighash": digest.hex()}]
    }
    assert scripted.seen[0].headers["Authorization"] == "Bearer bearer"
    assert KEY.public_key.verify(signature.signature_der, digest)


def test_o12_no_word_in_the_address_switches_signing_off(scripted: ScriptedServer) -> None:
    digest = digests(1)[0]
    scripted.prepare(json_reply({"signatures": [entry(digest)]}))
    client = KmsClient(f"{scripted.url}/mock-signer", api_key="bearer")

    signature = client.sign([SignRequest("pool", digest)])[0]

    client.close()
    assert [request.path for request in scripted.seen] == ["/mock-signer/sign"]
    assert KEY.public_key.verify(signature.signature_der, digest)


def test_no_requests_need_no_call(scripted: ScriptedServer, liar: KmsClient) -> None:
    assert liar.sign([]) == []
    assert scripted.seen == []


def test_more_than_a_thousand_go_in_chunks(kms: KmsClient) -> None:
    requests = [SignRequest("funding-1", digest) for digest in digests(1001)]

    assert len(kms.sign(requests)) == 1001


def test_a_digest_of_another_length_never_leaves() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        SignRequest("pool", b"\x00" * 31)


def test_s20_one_unknown_key_refuses_the_batch_with_the_signers_words(kms: KmsClient) -> None:
    first, second = digests(2)

    with pytest.raises(KmsRefusedError, match="names no key"):
        kms.sign([SignRequest("funding-1", first), SignRequest("nobody", second)])


def test_a_key_that_may_not_sign_is_refused_with_words(kms: KmsClient) -> None:
    with pytest.raises(AuthenticationRefusedError, match="may not sign"):
        kms.sign([SignRequest("svd-1", digests(1)[0])])


def test_a_wrong_bearer_is_refused(signer: RunningSigner) -> None:
    client = KmsClient(signer.url, api_key="wrong")

    with pytest.raises(AuthenticationRefusedError):
        client.sign([SignRequest("funding-1", digests(1)[0])])
    client.close()


def _wrong_entries() -> dict[str, list[Any]]:
    first, second = digests(2)
    good = [entry(first), entry(second)]
    flipped = bytearray(KEY.sign(second))
    flipped[-1] ^= 1
    return {
        "one missing": good[:1],
        "one too many": [*good, good[0]],
        "swapped": good[::-1],
        "null": [good[0], None],
        "empty": [good[0], {}],
        "no key": [good[0], {"signatureHex": good[1]["signatureHex"]}],
        "other key": [good[0], {**good[1], "pubKeyHex": OTHER_KEY.public_key.to_hex()}],
        "uncompressed": [good[0], {**good[1], "pubKeyHex": "04" + "11" * 64}],
        "not on curve": [good[0], {**good[1], "pubKeyHex": "02" + "ff" * 32}],
        "high s": [good[0], {**good[1], "signatureHex": high_s(KEY.sign(second))}],
        "hash type": [good[0], {**good[1], "signatureHex": good[1]["signatureHex"] + "41"}],
        "flipped": [good[0], {**good[1], "signatureHex": flipped.hex()}],
        "not hex": [good[0], {**good[1], "signatureHex": "zz"}],
        "number": [good[0], {**good[1], "signatureHex": 7}],
        "display order": [good[0], entry(second[::-1])],
    }


@pytest.mark.parametrize("name", list(_wrong_entries()))
def test_s20_one_wrong_entry_spoils_the_whole_answer(
    scripted: ScriptedServer, liar: KmsClient, name: str
) -> None:
    scripted.prepare(json_reply({"signatures": _wrong_entries()[name]}))

    with pytest.raises(KmsAnswerError):
        liar.sign([SignRequest("pool", digest) for digest in digests(2)])
    assert len(scripted.seen) == 1


@pytest.mark.parametrize(
    "reply",
    [
        Reply(WEB_PAGE),
        Reply(WEB_PAGE, 404),
        Reply(b"", 204),
        Reply(b"", 302, {"Location": "/login"}),
        json_reply([]),
        json_reply(None),
        json_reply({}),
        json_reply({"signatures": None}),
        json_reply({"signatures": {"0": {}}}),
    ],
)
def test_an_answer_of_another_shape_is_not_used(
    scripted: ScriptedServer, liar: KmsClient, reply: Reply
) -> None:
    scripted.prepare(reply)

    with pytest.raises(KmsAnswerError):
        liar.sign([SignRequest("pool", digests(1)[0])])


@pytest.mark.parametrize("trouble", [Reply(b"", 503), Reply(is_cut=True)])
def test_an_outage_is_tried_again_after_one_and_two_seconds(
    scripted: ScriptedServer, liar: KmsClient, pauses: list[float], trouble: Reply
) -> None:
    digest = digests(1)[0]
    scripted.prepare(trouble, trouble, json_reply({"signatures": [entry(digest)]}))

    assert len(liar.sign([SignRequest("pool", digest)])) == 1
    assert pauses == [1.0, 2.0]


def test_a_lasting_outage_is_unavailable(
    scripted: ScriptedServer, liar: KmsClient, pauses: list[float]
) -> None:
    scripted.prepare(Reply(WEB_PAGE, 502))

    with pytest.raises(ServiceUnavailableError, match="answered 502"):
        liar.sign([SignRequest("pool", digests(1)[0])])
    assert (len(scripted.seen), pauses) == (3, [1.0, 2.0])


def test_a_refusal_is_not_tried_again(scripted: ScriptedServer, liar: KmsClient) -> None:
    scripted.prepare(json_reply({"error": "invalid_request", "message": "Bad digest."}, 400))

    with pytest.raises(KmsRefusedError, match=r"refused \(400\): Bad digest\."):
        liar.sign([SignRequest("pool", digests(1)[0])])
    assert len(scripted.seen) == 1


def test_o14_a_call_holds_no_longer_than_its_budget(scripted: ScriptedServer) -> None:
    client = KmsClient(scripted.url, api_key="bearer", timeout_seconds=15.0, budget_seconds=9.0)
    scripted.prepare(Reply(delay_seconds=8.0))
    started = time.monotonic()

    with pytest.raises(ServiceUnavailableError):
        client.sign([SignRequest("pool", digests(1)[0])], budget_seconds=0.5)
    with pytest.raises(ServiceUnavailableError):
        client.derive_secret(CHALLENGE, KEY.public_key, budget_seconds=0.5)

    assert time.monotonic() - started < 5.0
    client.close()


def test_o14_a_batch_whose_time_is_over_is_not_sent(
    scripted: ScriptedServer, liar: KmsClient
) -> None:
    with pytest.raises(ServiceUnavailableError, match="out of time"):
        liar.sign([SignRequest("pool", digests(1)[0])], budget_seconds=1e-9)
    assert scripted.seen == []


def test_public_keys_are_found_by_name(kms: KmsClient, signer: RunningSigner) -> None:
    found = kms.get_public_key("issuer-1")

    assert found is not None
    assert found.to_hex() == signer.keys["issuer-1"]["publicKeyHex"]
    assert kms.get_public_key("nobody") is None


@pytest.mark.parametrize(
    "fields",
    [
        {"keyIdentifier": "other", "compressedPubkeyHex": KEY.public_key.to_hex()},
        {"keyIdentifier": "pool", "compressedPubkeyHex": "02"},
        {"keyIdentifier": "pool"},
    ],
)
def test_an_odd_public_key_is_refused(
    scripted: ScriptedServer, liar: KmsClient, fields: dict[str, Any]
) -> None:
    scripted.prepare(json_reply(fields))

    with pytest.raises(KmsAnswerError):
        liar.get_public_key("pool")


def test_a_shared_secret_depends_on_challenge_and_key(kms: KmsClient) -> None:
    secret = kms.derive_secret(CHALLENGE, KEY.public_key)

    assert len(secret) == 32
    assert kms.derive_secret(CHALLENGE, KEY.public_key) == secret
    assert kms.derive_secret(CHALLENGE[::-1], KEY.public_key) != secret
    assert kms.derive_secret(CHALLENGE, OTHER_KEY.public_key) != secret


def test_f34_the_name_of_the_signers_key_comes_along(kms: KmsClient) -> None:
    derived = kms.derive(CHALLENGE, KEY.public_key)

    assert derived.kid
    assert derived.secret.hex() not in repr(derived)


def test_secrets_are_asked_for_at_their_own_service(scripted: ScriptedServer) -> None:
    client = KmsClient("http://127.0.0.1:9", api_key="bearer", svd_base_url=scripted.url)
    scripted.prepare(json_reply({"sharedSecretHex": "ab" * 32}))

    derived = client.derive(CHALLENGE, KEY.public_key)

    assert (derived.secret, derived.kid) == (b"\xab" * 32, None)
    assert scripted.seen[0].path == "/svd/derive-secret"
    assert scripted.seen[0].json == {
        "Mhex": CHALLENGE.hex(),
        "pmcHex": KEY.public_key.to_hex(),
    }
    client.close()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"sharedSecretHex": ""},
        {"sharedSecretHex": "ab" * 15},
        {"sharedSecretHex": "zz" * 32},
        {"sharedSecretHex": None},
        {"sharedSecretHex": "ab" * 32, "kid": 5},
    ],
)
def test_an_odd_secret_is_refused_without_being_shown(
    scripted: ScriptedServer, liar: KmsClient, fields: dict[str, Any]
) -> None:
    scripted.prepare(json_reply(fields))

    with pytest.raises(KmsAnswerError) as caught:
        liar.derive_secret(CHALLENGE, KEY.public_key)
    assert "ab" * 15 not in str(caught.value)


def test_a_living_signer_is_pinged(kms: KmsClient) -> None:
    kms.ping()


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (json_reply({"status": "ok", "locked": True}), ServiceUnavailableError),
        (json_reply({"status": "failing", "locked": False}), UnexpectedAnswerError),
        (json_reply([]), UnexpectedAnswerError),
        (Reply(WEB_PAGE), UnexpectedAnswerError),
        (Reply(b"", 503), ServiceUnavailableError),
    ],
)
def test_a_signer_that_can_not_sign_fails_its_ping(
    scripted: ScriptedServer, liar: KmsClient, reply: Reply, kind: type[Exception]
) -> None:
    scripted.prepare(reply)

    with pytest.raises(kind):
        liar.ping()
    assert len(scripted.seen) == 1
