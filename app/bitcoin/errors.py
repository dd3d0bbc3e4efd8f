"""Errors of the Bitcoin formats; the text of each is a sentence fit for an API caller."""


class BitcoinFormatError(ValueError):
    """Something is not what its Bitcoin format demands."""


class InvalidPublicKeyError(BitcoinFormatError):
    """A public key is not a compressed point of the curve."""


class InvalidPrivateKeyError(BitcoinFormatError):
    """A private key is malformed or out of range; the text never carries the key."""


class InvalidSignatureError(BitcoinFormatError):
    """A signature is refused; `reason` is not_hex, not_der, high_s or out_of_range."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class InvalidAddressError(BitcoinFormatError):
    """An address is refused; `reason` is malformed, checksum, network or not_p2pkh."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class InvalidScriptError(BitcoinFormatError):
    """A script is not of the shape asked for."""


class InvalidTransactionError(BitcoinFormatError):
    """A transaction, or a part of one, is malformed or lacks what the question needs."""


class InvalidHeaderError(BitcoinFormatError):
    """A block header is malformed."""


class InvalidMerklePathError(BitcoinFormatError):
    """A merkle path is malformed, incomplete or contradicts itself."""


class ScriptVerificationError(BitcoinFormatError):
    """An input does not unlock the output that it spends; `detail` is in a node's words."""

    def __init__(self, input_index: int, detail: str) -> None:
        super().__init__(f"Input {input_index} does not unlock its output: {detail}.")
        self.input_index = input_index
        self.detail = detail
