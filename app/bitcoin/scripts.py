"""The two script shapes that we write, pay to public key hash and data, and how to read them."""

from collections.abc import Sequence

from app.bitcoin.errors import InvalidScriptError
from app.bitcoin.hashes import sha256

_OP_0, _OP_PUSHDATA1, _OP_PUSHDATA2, _OP_PUSHDATA4 = 0x00, 0x4C, 0x4D, 0x4E
_OP_1NEGATE, _OP_1, _OP_16 = 0x4F, 0x51, 0x60
_DATA_PREFIX = b"\x00\x6a"  # OP_FALSE OP_RETURN
_P2PKH_PREFIX = b"\x76\xa9\x14"  # OP_DUP OP_HASH160 <20 bytes>
_P2PKH_SUFFIX = b"\x88\xac"  # OP_EQUALVERIFY OP_CHECKSIG
_LENGTH_BYTES = {_OP_PUSHDATA1: 1, _OP_PUSHDATA2: 2, _OP_PUSHDATA4: 4}

# A low-S DER signature has at most 71 bytes: r may need a sign byte, s never does. With the
# sighash byte, the key of 33 bytes and the length byte of both pushes that makes 107.
P2PKH_UNLOCKING_SIZE = 1 + 71 + 1 + 1 + 33


def p2pkh_locking_script(public_key_hash160: bytes) -> bytes:
    """Return the 25-byte script that pays the key with this 20-byte hash."""
    if len(public_key_hash160) != 20:
        raise InvalidScriptError("A public key hash is 20 bytes long.")
    return _P2PKH_PREFIX + public_key_hash160 + _P2PKH_SUFFIX


def find_p2pkh_hash160(script: bytes) -> bytes | None:
    """Return the 20-byte hash that a P2PKH locking script pays, None for any other script."""
    is_p2pkh = (
        len(script) == 25 and script.startswith(_P2PKH_PREFIX) and script.endswith(_P2PKH_SUFFIX)
    )
    return bytes(script[3:23]) if is_p2pkh else None


def p2pkh_unlocking_script(
    signature_der: bytes, public_key: bytes, sighash_type: int = 0x41
) -> bytes:
    """Return `<signature || sighash type> <public key>`."""
    return push(signature_der + bytes([sighash_type])) + push(public_key)


def push(data: bytes) -> bytes:
    """Return the shortest operation that pushes `data` (BIP62 rule 3)."""
    size = len(data)
    if size == 1 and 1 <= data[0] <= 16:
        return bytes([_OP_1 + data[0] - 1])
    if data == b"\x81":
        return bytes([_OP_1NEGATE])
    if size < _OP_PUSHDATA1:
        return bytes([size]) + data
    opcode = _OP_PUSHDATA1 if size < 1 << 8 else _OP_PUSHDATA2 if size < 1 << 16 else _OP_PUSHDATA4
    return bytes([opcode]) + size.to_bytes(_LENGTH_BYTES[opcode], "little") + data


def data_locking_script(pushes: Sequence[bytes]) -> bytes:
    """Return `OP_FALSE OP_RETURN` and the pushes: an output that nobody can spend."""
    return _DATA_PREFIX + b"".join(push(item) for item in pushes)


def parse_data_script(script: bytes) -> list[bytes]:
    """Return the pushes of an `OP_FALSE OP_RETURN` script.

    Raises InvalidScriptError for another prefix, an operation that is no push, a push cut
    short or one that is longer than it need be.
    """
    if not script.startswith(_DATA_PREFIX):
        raise InvalidScriptError("The script does not begin with OP_FALSE OP_RETURN.")
    pushes: list[bytes] = []
    position = len(_DATA_PREFIX)
    while position < len(script):
        item, end = _read_push(script, position)
        if push(item) != script[position:end]:
            raise InvalidScriptError("The script pushes data in a longer way than needed.")
        pushes.append(item)
        position = end
    return pushes


def _read_push(script: bytes, position: int) -> tuple[bytes, int]:
    """Return the item pushed at `position` and where its operation ends."""
    opcode = script[position]
    if opcode == _OP_1NEGATE:
        return b"\x81", position + 1
    if _OP_1 <= opcode <= _OP_16:
        return bytes([opcode - _OP_1 + 1]), position + 1
    if opcode > _OP_PUSHDATA4:
        raise InvalidScriptError("The script holds an operation that pushes no data.")
    start = position + 1 + _LENGTH_BYTES.get(opcode, 0)
    length = script[position + 1 : start]
    size = int.from_bytes(length, "little") if opcode in _LENGTH_BYTES else opcode
    if start + size > len(script):
        raise InvalidScriptError("The script ends within a push.")
    return bytes(script[start : start + size]), start + size


def script_hash(script: bytes) -> str:
    """Return WhatsOnChain's name of a script: its SHA-256 in reversed hex."""
    return sha256(script)[::-1].hex()
