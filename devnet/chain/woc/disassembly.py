"""Scripts as text, the way that a node prints them."""

_LENGTH_BYTES = {0x4C: 1, 0x4D: 2, 0x4E: 4}
_NAMES = {
    0x00: "0",
    0x4F: "-1",
    0x51: "1",
    0x61: "OP_NOP",
    0x69: "OP_VERIFY",
    0x6A: "OP_RETURN",
    0x75: "OP_DROP",
    0x76: "OP_DUP",
    0x87: "OP_EQUAL",
    0x88: "OP_EQUALVERIFY",
    0xA8: "OP_SHA256",
    0xA9: "OP_HASH160",
    0xAA: "OP_HASH256",
    0xAC: "OP_CHECKSIG",
    0xAD: "OP_CHECKSIGVERIFY",
    0xAE: "OP_CHECKMULTISIG",
    0xAF: "OP_CHECKMULTISIGVERIFY",
} | {0x50 + number: str(number) for number in range(2, 17)}


def disassemble(script: bytes) -> str:
    """Return the operations with blanks between them; `[error]` where a push is cut short."""
    words = []
    position = 0
    while position < len(script):
        opcode = script[position]
        position += 1
        if not 1 <= opcode <= 0x4E:
            words.append(_NAMES.get(opcode, f"OP_{opcode:02x}"))
            continue
        width = _LENGTH_BYTES.get(opcode, 0)
        size = int.from_bytes(script[position : position + width], "little") if width else opcode
        position += width
        data = script[position : position + size]
        if len(data) < size:
            words.append("[error]")
            break
        words.append(data.hex())
        position += size
    return " ".join(words)
