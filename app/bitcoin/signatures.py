"""Strict DER (BIP66) and low S (BIP62): one authorisation has one encoding."""

from app.bitcoin.curve import N
from app.bitcoin.errors import InvalidSignatureError

_HALF_N = N // 2
_SHORTEST, _LONGEST = 8, 72


def _integer_end(der: bytes, start: int) -> int | None:
    """Return where the DER integer at `start` ends, None unless positive and minimal."""
    if start + 2 > len(der) or der[start] != 0x02:
        return None
    end = start + 2 + der[start + 1]
    body = der[start + 2 : end]
    if not body or end > len(der) or body[0] & 0x80:
        return None
    if len(body) > 1 and body[0] == 0 and not body[1] & 0x80:
        return None
    return end


def _split(der: bytes) -> tuple[int, int] | None:
    """Return r and s of a strict DER signature without its sighash byte, else None."""
    if not _SHORTEST <= len(der) <= _LONGEST or der[0] != 0x30 or der[1] != len(der) - 2:
        return None
    r_end = _integer_end(der, 2)
    if r_end is None or _integer_end(der, r_end) != len(der):
        return None
    return int.from_bytes(der[4:r_end], "big"), int.from_bytes(der[r_end + 2 :], "big")


def is_strict_der(der: bytes) -> bool:
    """Tell whether a signature, without its sighash byte, is strict DER (BIP66)."""
    return _split(der) is not None


def is_low_s(der: bytes) -> bool:
    """Tell whether a signature is strict DER with S at most half the curve order."""
    numbers = _split(der)
    return numbers is not None and numbers[1] <= _HALF_N


def check_signature_der(der: bytes) -> None:
    """Refuse all but strict DER with 1 <= r < n and 1 <= s <= n/2 (InvalidSignatureError)."""
    numbers = _split(der)
    if numbers is None:
        raise InvalidSignatureError("The signature is not strict DER.", "not_der")
    r, s = numbers
    if not (1 <= r < N and 1 <= s < N):
        raise InvalidSignatureError("The signature's numbers are out of range.", "out_of_range")
    if s > _HALF_N:
        raise InvalidSignatureError("The signature has a high S value.", "high_s")


def parse_signature_der(text_hex: str) -> bytes:
    """Return the bytes of a DER signature in hex, either case, without a sighash byte.

    Raises InvalidSignatureError with a reason unless it is strict DER with low S.
    """
    try:
        der = bytes.fromhex(text_hex)
    except (TypeError, ValueError):
        der = b""
    if not der or len(der) * 2 != len(text_hex):
        raise InvalidSignatureError("The signature is not hexadecimal.", "not_hex")
    check_signature_der(der)
    return der
