"""The signer: 500 digests in one batch."""

from __future__ import annotations

import os

import psutil

from app import extensions
from app.bitcoin.keys import PrivateKey
from app.clients.kms import SignRequest
from devnet.supervisor import Devnet
from tests.bench.measuring import cpu_of, in_turn, show
from tests.bench.raw import BareSigner
from tests.integration.services.lab import Lab

DIGESTS = 500
ROUNDS = 9


def test_signing_500_digests(lab: Lab, devnet: Devnet) -> None:
    """Beside signing in this process, which is what the signer can't be faster than."""
    kms = extensions.get().kms
    key = PrivateKey.generate()
    digests = [os.urandom(32) for _ in range(DIGESTS)]
    requests = [SignRequest("funding", digest) for digest in digests]
    bare = BareSigner(lab)
    signer_cpu = cpu_of(_signer_processes(devnet))

    def sign_here() -> int:
        for digest in digests:
            key.sign(digest)
        return 1

    def sign_bare() -> int:
        return bare.sign("funding", DIGESTS) // DIGESTS

    def sign_and_check() -> int:
        return len(kms.sign(requests)) // DIGESTS

    costs = in_turn(
        {"here": sign_here, "bare": sign_bare, "signer": sign_bare, "client": sign_and_check},
        rounds=ROUNDS,
        cpu_clocks={"signer": signer_cpu},
    )
    bare.close()
    here = costs["here"]
    rows = [
        ("the curve alone, in this process", costs["here"], "-"),
        ("bare POST /sign", costs["bare"], costs["signer"].cpu_milliseconds),
        ("KmsClient.sign, which checks every signature", costs["client"], "the same"),
    ]
    show(
        f"Signer: {DIGESTS} digests in one batch (target: under 100 ms of the signer's time)",
        ["", "ms", "CPU ms of the caller", "CPU ms of the signer", "x the curve alone"],
        [
            [label, cost.milliseconds, cost.cpu_milliseconds, signer, cost.over(here)]
            for label, cost, signer in rows
        ],
    )


def _signer_processes(devnet: Devnet) -> list[psutil.Process]:
    pid = next(part.pid for part in devnet.status() if part.part == "signer")
    leader = psutil.Process(pid)
    return [leader, *leader.children(recursive=True)]
