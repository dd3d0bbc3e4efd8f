"""The one number of secp256k1 that the rules need."""

N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def is_scalar(raw: bytes) -> bool:
    """Tell whether 32 big-endian bytes are a number from 1 to the curve order less one."""
    return len(raw) == 32 and 1 <= int.from_bytes(raw, "big") < N
