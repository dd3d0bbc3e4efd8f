"""Verifying a patch, with a line of custody of one record and of ten."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flask import Flask
from werkzeug.test import EnvironBuilder, run_wsgi_app

from app import create_app
from app.bitcoin.keys import PrivateKey
from app.services import anchoring, verification
from tests.bench.counting import counting
from tests.bench.measuring import Cost, Work, in_turn, repeat, show
from tests.integration.services.lab import Lab, Owner

LENGTHS = (1, 10)
IN_A_ROUND = 40
ROUNDS = 7
_DIGEST = bytes(32)

Query = Mapping[str, Any]


def test_verifying(lab: Lab) -> None:
    """Beside the same queries and as many checks of signatures, bare."""
    lab.fill_pool(5, satoshis=20_000)
    for length in LENGTHS:
        _make_line(lab, length)
    app = create_app(environ=lab.env)
    queries = {length: _list_queries(lab, length) for length in LENGTHS}
    works: dict[str, Work] = {}
    for length in LENGTHS:
        works |= _works(lab, app, length, queries[length])
    costs = in_turn(works, rounds=ROUNDS)
    rows = []
    for length in LENGTHS:
        bare = costs[f"{length} bare"]
        for label in ("through the WSGI application", "verification.verify", "bare"):
            cost = costs[f"{length} {label}"]
            rows.append(_row(length, label, cost, len(queries[length]), bare))
    show(
        "Verifying a patch",
        ["records in its line", "queries", "ms", "CPU ms", "a second", "x bare"],
        rows,
    )


def _row(length: int, label: str, cost: Cost, queries: int, bare: Cost) -> list[object]:
    return [
        f"{length}, {label}",
        queries,
        cost.milliseconds,
        cost.cpu_milliseconds,
        cost.per_second,
        cost.over(bare),
    ]


def _works(lab: Lab, app: Flask, length: int, queries: Sequence[Query]) -> dict[str, Work]:
    uid = _uid(length)
    environ = EnvironBuilder(path=f"/v1/patches/verify/{uid}").get_environ()

    def ask() -> None:
        answer = run_wsgi_app(app.wsgi_app, dict(environ), buffered=True)
        assert answer[1] == "200 OK", answer

    def verify() -> None:
        assert verification.verify(uid).status == verification.AUTHENTIC

    return {
        f"{length} through the WSGI application": repeat(IN_A_ROUND, ask),
        f"{length} verification.verify": repeat(IN_A_ROUND, verify),
        f"{length} bare": repeat(IN_A_ROUND, _bare(lab, length, queries)),
    }


def _bare(lab: Lab, length: int, queries: Sequence[Query]) -> Callable[[], None]:
    """The queries that were sent, and a check for each signature of issuer and owner."""
    key = PrivateKey.generate()
    signature = key.sign(_DIGEST)

    def ask() -> None:
        for query in queries:
            list(lab.collection(query["find"]).find(query["filter"]).limit(query.get("limit", 0)))
        for _ in range(2 * length - 1):
            assert key.public_key.verify(signature, _DIGEST)

    return ask


def _list_queries(lab: Lab, length: int) -> list[Query]:
    with counting() as counts:
        lab.configure()
        verification.verify(_uid(length))
        queries = [command for name, command in counts.commands if name == "find"]
        assert len(queries) == len(counts.names), counts.names
    lab.configure()
    return queries


def _uid(length: int) -> str:
    return f"NFC-line-of-{length}"


def _make_line(lab: Lab, length: int) -> None:
    uid, owner = _uid(length), Owner()
    head = lab.registered(uid, owner).head
    for _ in range(length - 1):
        new_owner = Owner()
        record = lab.transfer(head, owner, new_owner, uid).record
        anchoring.anchor([record])
        head, owner = lab.reload(record).head, new_owner
