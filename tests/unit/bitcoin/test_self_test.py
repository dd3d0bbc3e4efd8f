"""The self-test passes here, and would tell of a library that hashes or signs otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from app.bitcoin import self_test
from app.bitcoin.keys import PrivateKey, PublicKey


def test_this_installation_is_right() -> None:
    assert self_test.find_defects() == []


@pytest.mark.parametrize(
    ("owner", "name", "defect"),
    [
        (PublicKey, "address", "address"),
        (self_test, "sighash", "sighash"),
        (PrivateKey, "sign", "signature"),
        (PublicKey, "verify", "signature"),
        (self_test, "merkle_root", "merkle root"),
    ],
)
@pytest.mark.parametrize("does", ["answers otherwise", "raises"])
def test_f4_what_is_wrong_is_named(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, defect: str, does: str
) -> None:
    def broken(*_arguments: object) -> bytes:
        if does == "raises":
            raise ValueError("no such curve")
        return b""

    monkeypatch.setattr(owner, name, broken)

    assert self_test.find_defects() == [defect]
