"""A node's words for what it refuses (bitcoin-sv, `sendrawtransaction`)."""

INVALID, NONSTANDARD, INSUFFICIENT_FEE = 16, 64, 66
HIGH_FEE, ALREADY_KNOWN, CONFLICT = 256, 257, 258


class RejectionError(Exception):
    """A transaction is refused; the text is what the node would say.

    Three reasons carry no number: `TX decode failed`, `Missing inputs` and
    `Transaction already in the mempool`.
    """

    def __init__(self, reason: str, code: int | None = None) -> None:
        super().__init__(reason if code is None else f"{code}: {reason}")
        self.reason = reason
        self.code = code


class UndecodableError(RejectionError):
    """The bytes are no transaction."""

    def __init__(self) -> None:
        super().__init__("TX decode failed")


class MissingInputsError(RejectionError):
    """An input is unknown, or spent in a block: the node does not tell which."""

    def __init__(self) -> None:
        super().__init__("Missing inputs")


class DuplicateError(RejectionError):
    """The node has the transaction already, in the mempool or in a block."""


class ConflictError(RejectionError):
    """Transactions of the mempool, `txids`, spend the same outputs."""

    def __init__(self, txids: list[str]) -> None:
        super().__init__("txn-mempool-conflict", CONFLICT)
        self.txids = txids
