"""ARC's refusals: problem objects whose `extraInfo` holds the real cause."""

from typing import Any

_KINDS = {
    400: ("Bad request", "The request seems to be malformed and cannot be processed"),
    404: ("Not found", "The requested resource could not be found"),
    460: (
        "Not extended format",
        "Missing input scripts: Transaction could not be transformed to extended format",
    ),
    461: ("Malformed transaction", "Transaction is malformed and cannot be processed"),
    462: ("Invalid inputs", "Transaction is invalid because the inputs are non-existent or spent"),
    463: ("Malformed transaction", "Transaction is malformed and cannot be processed"),
    464: (
        "Invalid outputs",
        "Transaction is invalid because the outputs are non-existent or invalid",
    ),
    465: ("Fee too low", "Fees are insufficient"),
    474: ("Transaction size", "Transaction size is invalid"),
}


class ProblemError(Exception):
    """A request or a transaction that ARC refuses by itself, without asking a node."""

    def __init__(self, status: int, extra_info: str, txid: str | None = None) -> None:
        super().__init__(extra_info)
        self.status = status
        self.extra_info = extra_info
        self.txid = txid

    def to_json(self) -> dict[str, Any]:
        """Return the body; its `status` is the HTTP status too."""
        title, detail = _KINDS[self.status]
        return {
            "type": f"https://bitcoin-sv.github.io/arc/#/errors?id=_{self.status}",
            "title": title,
            "status": self.status,
            "detail": detail,
            "instance": None,
            "txid": self.txid,
            "extraInfo": self.extra_info,
        }
