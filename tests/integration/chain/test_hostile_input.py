"""Nonsense from strangers is a 4xx, never a 5xx, and the chain goes on."""

import random

import pytest

HUGE = "9" * 5000


@pytest.mark.parametrize(
    "path",
    [
        f"/tx/{HUGE}/hex",
        "/tx/hash/%00%ff",
        f"/tx/{'ab' * 32}/{HUGE}/spent",
        f"/tx/{'ab' * 32}/-1/spent",
        f"/tx/{'ab' * 32}/4294967296/spent",
        f"/tx/{'ab' * 32}/out/{HUGE}/hex",
        f"/block/{HUGE}/header",
        f"/block/{'9' * 18}/header",
        "/block/-1/header",
        f"/block/height/{'9' * 30}",
        f"/block/hash/{'ab' * 32}/page/0",
        f"/block/headers/latest?count={HUGE}",
        "/block/headers/latest?count=-1",
        "/address/nonsense/unspent/all",
        "/address/1BitcoinEaterAddressDontSendf59kuE/unspent/all",
        "/script/xyz/unspent/all",
        "/nowhere",
        "/tx/%F0%9F%92%A9/hex",
    ],
)
def test_nonsense_in_a_path(chain, path):
    assert 400 <= chain.woc(path).status_code < 500


@pytest.mark.parametrize("token", ["x", "00", "ff", "2d2d", "312d61622d39", "39" * 400])
def test_nonsense_in_a_token(chain, wallet, token):
    for path in ("unspent/all", "confirmed/unspent", "confirmed/history"):
        response = chain.woc(f"/address/{wallet.address}/{path}?token={token}")
        assert 400 <= response.status_code < 500


BODIES = [
    b"",
    b"null",
    b"5",
    b'"x"',
    b"[]",
    b"{",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"txhex": NaN}',
    b'{"txids": {}, "utxos": {}, "addresses": {}, "scripts": {}, "faults": {}, "txhex": {}}',
    b'{"txids": [5], "utxos": [5], "addresses": [5], "scripts": [5], "faults": [5], "depth": []}',
    b'{"txids": ["x"], "utxos": [{"txid": "x", "vout": 0}], "addresses": [""], "scripts": [""]}',
    b'{"utxos": [{"txid": "' + b"ab" * 32 + b'", "vout": -1}], "txids": [null], "depth": null}',
    b'{"utxos": [{"txid": "' + b"ab" * 32 + b'", "vout": 1e400}], "depth": 1e400}',
    b'{"depth": -1, "outputs": -1, "satoshis": -1, "blocks": -1, "txids": -1, "faults": -1}',
]
POSTS = [
    "/v1/bsv/test/tx/raw",
    "/v1/bsv/test/txs",
    "/v1/bsv/test/txs/hex",
    "/v1/bsv/test/txs/status",
    "/v1/bsv/test/utxos/spent",
    "/v1/bsv/test/addresses/confirmed/unspent",
    "/v1/bsv/test/scripts/unconfirmed/unspent",
    "/v1/bsv/test/addresses/confirmed/history",
    "/v1/bsv/test/addresses/unconfirmed/history",
    "/arc/v1/tx",
    "/arc/v1/txs",
    "/control/fund",
    "/control/reorg",
    "/control/faults",
]


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("content_type", ["application/json", "text/plain", ""])
def test_nonsense_in_a_body(chain, path, content_type):
    for body in BODIES:
        headers = {"Content-Type": content_type}
        response = chain.http.post(chain.url + path, data=body, headers=headers, timeout=10)
        assert 400 <= response.status_code < 500, (body[:80], response.text)


@pytest.mark.parametrize("path", ["/v1/bsv/test/tx/raw", "/arc/v1/tx"])
@pytest.mark.parametrize(
    "text", ["ab" * 1_000_000, "zz" * 1_000_000, "01000000" + "fd" * 1_000_000]
)
def test_two_megabytes_of_nonsense(chain, path, text):
    body = {"txhex": text, "rawTx": text}
    response = chain.http.post(chain.url + path, json=body, timeout=20)
    assert 400 <= response.status_code < 500


def test_broken_copies_of_a_transaction(chain, wallet):
    rng = random.Random(7)
    raw = bytearray(wallet.spend(wallet.fund()).to_bytes())
    for _ in range(150):
        broken = bytearray(raw)
        for _ in range(rng.randint(1, 4)):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        if broken == raw:
            continue
        response = chain.woc("/tx/raw", {"txhex": broken.hex()})
        assert response.status_code == 400, (broken.hex(), response.text)
        response = chain.arc("/tx", {"rawTx": broken.hex()})
        assert response.status_code in (200, 400, 460, 461, 462, 463, 464, 465)
        assert response.json().get("txStatus") != "SEEN_ON_NETWORK"


def test_broken_copies_of_an_extended_transaction(chain, wallet):
    rng = random.Random(8)
    raw = bytes.fromhex(wallet.spend(wallet.fund()).to_extended_hex())
    for _ in range(150):
        broken = bytearray(raw)
        broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
        response = chain.arc("/tx", {"rawTx": broken.hex()})
        assert response.status_code < 500, (broken.hex(), response.text)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "BREW"])
def test_other_methods_are_refused(chain, method):
    response = chain.http.request(method, chain.url + "/v1/bsv/test/tx/raw", timeout=5)
    assert 400 <= response.status_code < 500
