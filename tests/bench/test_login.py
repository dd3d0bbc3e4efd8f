"""What a login by key costs: its code alone and through gunicorn, beside the bare calls."""

from __future__ import annotations

import gc
import http.client
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psutil
import requests
from flask import Flask
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder, run_wsgi_app

from app import create_app, extensions
from app.bitcoin.keys import PrivateKey
from app.domain import svd
from app.models.svd_key import SvdKey
from app.services import login, tokens
from tests.bench.measuring import Cost, Work, cpu_of, in_turn, repeat, show
from tests.integration.login.servers import Server, gunicorn
from tests.integration.services.lab import Lab

IN_A_ROUND = 100
ROUNDS = 5
CONNECTIONS = 4
TOTAL = IN_A_ROUND * (ROUNDS + 1)
USER = "0f" * 12
KEY = PrivateKey.generate()
HEADERS = {"Content-Type": "application/json"}
# What a limit costs is part of it, that it ends a bench is not.
UNLIMITED = {f"{name}_MAX": "1000000" for name in ("PUBLIC_API", "SVD_BEGIN", "SVD_COMPLETE")}
# One step that uses a key up, as a challenge is used up.
SCRIPT = "if redis.call('GET', KEYS[1]) then redis.call('SET', KEYS[1], ARGV[1], 'EX', 360) end"
BARE = "all of these bare: crypto, Redis, database, signer"


def test_login_in_the_process(lab: Lab) -> None:
    """The WSGI application without a server, beside its calls made bare and its crypto."""
    app = _started(lab)
    # A worker of gunicorn does the same; here it leaves out what the test's runner has made.
    gc.collect()
    gc.freeze()
    bodies = {"begin": [{"userId": USER}] * TOTAL, "complete": _answered(TOTAL)}
    direct = _answered(TOTAL)

    def complete() -> None:
        sent = direct.pop()
        login.complete(sent["userId"], sent["M"], sent["signatureHex"])

    bare = _bare_calls(lab)
    works: dict[str, Work] = {
        "POST complete, the WSGI application": _posting(app, "complete", bodies["complete"]),
        "its service alone, login.complete": repeat(IN_A_ROUND, complete),
        "POST begin, the WSGI application": _posting(app, "begin", bodies["begin"]),
        "its service alone, login.begin": repeat(IN_A_ROUND, lambda: login.begin(USER)),
        **{name: repeat(IN_A_ROUND, call) for name, call in bare.items()},
        BARE: repeat(IN_A_ROUND, lambda: [call() for call in bare.values()]),
    }
    _show("A login, in this process", in_turn(works, rounds=ROUNDS), "CPU ms")


def test_login_through_gunicorn(lab: Lab, tmp_path: Path) -> None:
    """One worker with four threads, beside the bare calls and crypto in this process."""
    _started(lab)
    bare = _bare_calls(lab)
    with gunicorn({**lab.env, **UNLIMITED}, tmp_path / "gunicorn.log", workers=1) as server:
        works = {
            f"POST complete, {at_once} at once": _completing(server, at_once)
            for at_once in (1, CONNECTIONS)
        }
        clock = cpu_of(psutil.Process(server.pid).children())
        clocks = dict.fromkeys(works, clock)
        works[BARE] = repeat(IN_A_ROUND, lambda: [call() for call in bare.values()])
        costs = in_turn(works, rounds=ROUNDS, cpu_clocks=clocks)
    _show("A login, through gunicorn with 1 worker of 4 threads", costs, "CPU ms of the worker")


def _started(lab: Lab) -> Flask:
    app = create_app(environ={**lab.env, **UNLIMITED})
    SvdKey(user_id=USER, public_key_hex=KEY.public_key.to_hex()).insert()
    return app


def _answered(number: int) -> list[dict[str, str]]:
    return [_answer(login.begin(USER)) for _ in range(number)]


def _answer(challenge: str) -> dict[str, str]:
    m = svd.challenge_digest(bytes.fromhex(challenge))
    return {"userId": USER, "M": challenge, "signatureHex": KEY.add(svd.tweak(m)).sign(m).hex()}


def _bare_calls(lab: Lab) -> Mapping[str, Work]:
    """What a login can't do without, each with nothing around it."""
    current = extensions.get()
    challenge = login.begin(USER)
    m = svd.challenge_digest(bytes.fromhex(challenge))
    signature = bytes.fromhex(_answer(challenge)["signatureHex"])
    rows = lab.collection("svd_registry")
    use_up = current.redis.register_script(SCRIPT)
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {lab.env['KMS_API_KEY']}"
    url = f"{lab.env['KMS_SIGN_URL']}/svd/derive-secret"
    body = {"Mhex": challenge, "pmcHex": KEY.public_key.to_hex()}

    def crypto() -> int:
        assert svd.one_time_key(KEY.public_key, m).verify(signature, m)
        proof = svd.login_proof(USER, m, bytes(32))
        return len(tokens.issue_svd(USER, challenge_sha256=m.hex(), proof=proof, kid="svd-0"))

    return {
        "bare: verify, proof and token": crypto,
        "bare: one script in Redis": lambda: len(str(use_up(["bench"], ["used"]))),
        "bare: find_one by _id": lambda: len(rows.find_one({"_id": USER})),
        "bare: the signer, by requests": lambda: session.post(url, json=body).status_code,
    }


def _posting(app: Flask, path: str, bodies: list[dict[str, str]]) -> Work:
    """Requests that are built beforehand, so that nothing but the application is measured."""
    prepared = [
        EnvironBuilder(
            path=f"/api/svd/{path}", method="POST", data=json.dumps(body), headers=Headers(HEADERS)
        ).get_environ()
        for body in bodies
    ]

    def post() -> None:
        answer = run_wsgi_app(app.wsgi_app, prepared.pop(), buffered=True)
        assert answer[1] == "200 OK", list(answer[0])

    return repeat(IN_A_ROUND, post)


def _completing(server: Server, at_once: int) -> Work:
    """Answers to challenges, made beforehand, over so many connections at once."""
    bodies = [json.dumps(body) for body in _answered(TOTAL)]

    def ask_all(number: int) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as one:
            for _ in range(number):
                one.request("POST", "/api/svd/complete", body=bodies.pop(), headers=HEADERS)
                answer = one.getresponse()
                answer.read()
                assert answer.status == 200, answer.status

    def work() -> int:
        share = IN_A_ROUND // at_once
        with ThreadPoolExecutor(at_once) as threads:
            list(threads.map(ask_all, [share] * at_once))
        return share * at_once

    return work


def _show(title: str, costs: Mapping[str, Cost], cpu: str) -> None:
    raw = costs[BARE]
    rows = [
        [name, cost.milliseconds, cost.cpu_milliseconds, cost.per_second, cost.over(raw)]
        for name, cost in costs.items()
    ]
    show(title, ["", "ms", cpu, "a second", "x bare"], rows)
