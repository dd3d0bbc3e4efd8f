"""What claims at the till and the records that anchor them must agree on."""

from __future__ import annotations

from collections.abc import Iterator

from app.domain.states import ClaimStatus, RecordStatus
from app.models.claim_intent import ClaimIntent
from app.models.cursors import Row, stream
from app.models.record import AuthenticationRecord
from app.services.consistency import ANY_ID, Problem, keyed, merge

_CLAIM_FIELDS = ("record_id", "status", "head", "customer_address")
_RECORD_FIELDS = ("status", "owner", "custody.prev_txid")
# How a claim's record has ended, where the claim has.
_ENDS = {
    ClaimStatus.CONFIRMED.value: RecordStatus.CONFIRMED.value,
    ClaimStatus.FAILED.value: RecordStatus.FAILED.value,
}


def find_disagreements() -> Iterator[Problem]:
    """Compares each approved claim with the record that it names, in one pass over both."""
    merged = merge(
        keyed(
            stream(ClaimIntent, {"record_id": ANY_ID}, _CLAIM_FIELDS, order="record_id"),
            "record_id",
            0,
        ),
        keyed(
            stream(
                AuthenticationRecord,
                {"custody.claim": {"$ne": None}},
                _RECORD_FIELDS,
                order="_id",
            ),
            "_id",
            1,
        ),
    )
    for _, (claims, records) in merged:
        for claim in claims:
            problem = _compare(claim, records[0] if records else None)
            if problem is not None:
                yield problem, str(claim["_id"])


def _compare(claim: Row, record: Row | None) -> str | None:
    status = str(claim.get("status"))
    if record is None:
        # An approved one gets it from `claims.settle_due`.
        return f"{status}, and its record is not there" if status in _ENDS else None
    if status in _ENDS and record.get("status") != _ENDS[status]:
        return f"{status}, and its record is {record.get('status')}"
    # An address that was erased is none that disagrees.
    if claim.get("customer_address") not in (None, record.get("owner")):
        return "its record names another owner"
    if (record.get("custody") or {}).get("prev_txid") != claim.get("head"):
        return "its record continues another head"
    return None
