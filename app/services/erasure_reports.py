"""What an erasure has erased, what it has not, and why: the answer to whoever asked for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from app.models.erasure import Erasure
from app.services.erasing_records import Kept, Obstacle, What

_MAX_NAMES = 100


@dataclass(frozen=True)
class Erased:
    """So many of one kind of thing were erased; `source` is the collection that they were in."""

    what: str
    source: str
    count: int


@dataclass(frozen=True)
class Remaining:
    """What is still there and why; `names` are the first of them, patches or claims.

    `is_erased_later` where it is erased without being asked for again.
    """

    what: str
    source: str
    count: int
    reason: str
    is_erased_later: bool
    names: Sequence[str] = ()


@dataclass(frozen=True)
class Report:
    """How a request stands."""

    is_open: bool
    requested_at: datetime
    finished_at: datetime | None
    erased: Sequence[Erased]
    remains: Sequence[Remaining]


def report(erasure: Erasure, kept: Sequence[Kept]) -> Report:
    """Tells how a request stands; `kept` is what it has just met that can't be erased yet."""
    counts = Counter(erasure.counts)
    counts.update(item.partition(":")[0] for item in erasure.items)
    return Report(
        is_open=erasure.is_open,
        requested_at=erasure.requested_at,
        finished_at=erasure.finished_at,
        erased=[
            Erased(what.value, source, counts[what])
            for what, source in _SOURCES.items()
            if counts[what]
        ],
        remains=[*_list_kept(kept), *_list_remains(erasure, counts)],
    )


def _list_kept(kept: Sequence[Kept]) -> Iterator[Remaining]:
    for obstacle, (source, reason) in _OBSTACLES.items():
        names = [each.name for each in kept if each.obstacle is obstacle]
        if names:
            yield Remaining(
                obstacle.value,
                source,
                len(names),
                reason,
                is_erased_later=obstacle is not Obstacle.LOGIN_KEY_CHANGED,
                names=names[:_MAX_NAMES],
            )


def _list_remains(erasure: Erasure, counts: Mapping[str, int]) -> Iterator[Remaining]:
    touched = counts.get(What.RECORD, 0) + counts.get(What.HANDOVER, 0)
    if touched:
        for what, reason in _OF_RECORDS.items():
            yield Remaining(what, _RECORDS, touched, reason, is_erased_later=False)
    for form, reason in _OF_CHAIN.items():
        if counts.get(form):
            yield Remaining(form.value, "chain", counts[form], reason, is_erased_later=False)
    if erasure.is_user_id:
        yield Remaining("user_id_hash", "erasures", 1, _USER_ID, is_erased_later=False)


_RECORDS = "authentication_records"
_SOURCES: Mapping[What, str] = MappingProxyType(
    {
        What.LOGIN_KEY: "svd_registry",
        What.CODE_REQUEST: "verification_codes",
        What.KEY_PROOF: "key_proofs",
        What.CLAIM: "claim_intents",
        What.USER_ID_IN_CLAIM: "claim_intents",
        What.RECORD: _RECORDS,
        What.HANDOVER: _RECORDS,
    }
)
_OBSTACLES: Mapping[Obstacle, tuple[str, str]] = MappingProxyType(
    {
        Obstacle.PRESENT_OWNER: (
            "patch_states",
            (
                "you own these patches, and without your address nobody could hand them on or "
                "unlock them; once you have handed them on, what names you in them is erased"
            ),
        ),
        Obstacle.BEING_HANDED_ON: (
            "patch_states",
            "these patches are being handed on; once that is final, what names you is erased",
        ),
        Obstacle.NOT_FINAL: (
            _RECORDS,
            "the chain may still undo these blocks; erased once they are buried deep enough",
        ),
        Obstacle.UNDER_WAY: (
            _RECORDS,
            "these records are on their way to the chain; erased once that has ended",
        ),
        Obstacle.CLAIM_UNDER_WAY: (
            "claim_intents",
            "these claims at a till have not ended; erased once they have",
        ),
        Obstacle.MORE: (_RECORDS, "there is more than one request erases; the rest follows"),
        Obstacle.LOGIN_KEY_CHANGED: (
            "svd_registry",
            "the login key was changed at the same moment; log in with the new one and ask again",
        ),
    }
)
_OF_RECORDS: Mapping[str, str] = MappingProxyType(
    {
        "record_frame": "digest, head, txid, kind, times and the issuer's signature: they hold the "
        "line of custody together, by which later owners prove theirs",
        "product_data": "the tag's uid, product and metadata with its notes: they describe the "
        "product, are the brand's, and stand in every record of the patch",
    }
)
_OF_CHAIN: Mapping[What, str] = MappingProxyType(
    {
        What.ON_CHAIN_DIGEST: "the chain holds a salted digest of these records and the issuer's "
        "signature, for ever. Neither tells who you are; but whoever guesses the address of a "
        "former owner, and knows patch and time, can check the guess against the signature",
        What.ON_CHAIN_ROOT: "the chain holds a hash over many records, these among them, for ever: "
        "by itself it tells nothing about any of them",
        What.ON_CHAIN_RECORD: "the chain holds these records in clear, for ever, and so does the "
        "stored transaction: nobody can erase that",
    }
)
_USER_ID = (
    "a hash of your user id, made with a secret key, so that nobody else registers it; an operator "
    "can free it"
)
