"""Scripts as text."""

import pytest

from devnet.chain.woc.disassembly import disassemble


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("", ""),
        (
            "76a914" + "ab" * 20 + "88ac",
            f"OP_DUP OP_HASH160 {'ab' * 20} OP_EQUALVERIFY OP_CHECKSIG",
        ),
        ("006a0461626364", "0 OP_RETURN 61626364"),
        ("4c03616263", "616263"),
        ("4d0300616263", "616263"),
        ("51604f", "1 16 -1"),
        ("05ab", "[error]"),
        ("4d01", "[error]"),
        ("ba", "OP_ba"),
    ],
)
def test_operations_are_spelled(script, text):
    assert disassemble(bytes.fromhex(script)) == text
