"""A line of custody, checked without a database: this is what a stranger can do."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from app.bitcoin.addresses import Network
from app.bitcoin.keys import PrivateKey
from app.bitcoin.scripts import p2pkh_locking_script
from app.bitcoin.transactions import Outpoint, Transaction, TxInput, TxOutput
from app.domain.canonical import canonical_json, sha256_hex
from app.domain.custody import BrokenLineError, CustodyLink, check_line, is_endorsed, order_line
from app.domain.envelope import Envelope, Kind, commitment_payload, record_digest
from app.domain.messages import claim_message, digest, transfer_message
from app.domain.records import Custody, OwnerWord, PosClaim, RecordContent, RecordKind

ISSUER = PrivateKey.from_hex("11" * 32)
OWNERS = [PrivateKey.from_hex(f"{number:02x}" * 32) for number in (0x21, 0x22, 0x23)]
STRANGER = PrivateKey.from_hex("44" * 32)
NETWORK = Network.TEST
PINNED = [ISSUER.public_key.to_hex()]
METADATA = {"notes": "blue"}


def address(key: PrivateKey) -> str:
    return key.public_key.address(NETWORK)


def sign(key: PrivateKey, message: bytes) -> str:
    return key.sign(digest(message)).hex()


def anchor(
    content: RecordContent, issuer: PrivateKey = ISSUER, *, whole: bool = False
) -> CustodyLink:
    """Signs a record and builds the transaction that carries it."""
    issuer_pubkey, salt = issuer.public_key.to_hex(), b"s" * 16
    signature = sign(issuer, content.endorsement_message())
    public = content.public_view(issuer_pubkey, signature)
    digest_hex = record_digest(salt, public)
    prev = content.custody.prev_txid if content.custody else None
    payload = commitment_payload(digest_hex, issuer_pubkey, signature, prev)
    script = Envelope(
        Kind(content.kind.value), canonical_json(public) if whole else payload
    ).to_locking_script()
    change = TxOutput(5, p2pkh_locking_script(issuer.public_key.hash160()))
    transaction = Transaction(
        (TxInput(Outpoint("ab" * 32, content.ts % 7), None),), (TxOutput(0, script), change)
    )
    return CustodyLink(
        head=transaction.txid,
        content=content,
        salt=salt,
        digest=digest_hex,
        issuer_pubkey=issuer_pubkey,
        issuer_signature=signature,
        txid=transaction.txid,
        raw_tx=transaction.to_bytes(),
        inclusion=None,
    )


def registration(**changes: Any) -> RecordContent:
    content = RecordContent(
        kind=RecordKind.REGISTRATION,
        product={"uid_tag_id": "NFC-1"},
        metadata=METADATA,
        metadata_sha256=sha256_hex(canonical_json(METADATA)),
        owner=address(OWNERS[0]),
        ts=1000,
    )
    return replace(content, **changes)


def transfer(
    previous: CustodyLink, seller: PrivateKey, buyer: PrivateKey, *, spelled: str | None = None
) -> RecordContent:
    head = spelled or previous.head
    message = transfer_message("NFC-1", head, address(buyer))
    word = OwnerWord(head, seller.public_key.to_hex(), sign(seller, message))
    custody = Custody(previous.head, word)
    return registration(
        kind=RecordKind.TRANSFER, owner=address(buyer), custody=custody, ts=previous.content.ts + 1
    )


def sale(previous: CustodyLink, buyer: PrivateKey, **changes: Any) -> RecordContent:
    """Handed over at a till: the buyer claimed it, and nobody else signed but the issuer."""
    ts = previous.content.ts + 1
    message = claim_message("NFC-1", address(buyer), ts, "abcdef")
    claim = PosClaim(
        previous_owner=previous.content.owner,
        approved_by="sha256:00",
        public_key_hex=buyer.public_key.to_hex(),
        signature_der_hex=sign(buyer, message),
        ts=ts,
        nonce="abcdef",
    )
    custody = Custody(previous.head, None, replace(claim, **changes))
    return registration(kind=RecordKind.TRANSFER, owner=address(buyer), custody=custody, ts=ts)


@pytest.fixture
def line() -> list[CustodyLink]:
    """Registered, and handed on twice."""
    links = [anchor(registration())]
    for seller, buyer in pairwise(OWNERS):
        links.append(anchor(transfer(links[-1], seller, buyer)))
    return links


def check(links: list[CustodyLink]) -> list[str]:
    return check_line(links, PINNED, NETWORK)


def test_p7_an_honest_line_has_no_findings(line: list[CustodyLink]) -> None:
    assert check(line) == []


def test_the_whole_record_on_the_chain_is_an_anchor_too() -> None:
    assert check([anchor(registration(), whole=True)]) == []


def test_a_head_spelled_in_capitals_was_signed_in_capitals(line: list[CustodyLink]) -> None:
    last = anchor(transfer(line[0], OWNERS[0], OWNERS[1], spelled=line[0].head.upper()))

    assert check([line[0], last]) == []


def test_pinned_keys_may_be_written_in_capitals(line: list[CustodyLink]) -> None:
    assert check_line(line, [PINNED[0].upper()], NETWORK) == []


def test_s5_a_key_that_is_not_pinned_signs_for_nobody() -> None:
    forged = anchor(registration(), STRANGER)

    assert not is_endorsed(forged, PINNED)
    assert check([forged]) == [f"{forged.head}: no pinned issuer key signed it"]


def test_p4_somebody_elses_word_does_not_hand_over(line: list[CustodyLink]) -> None:
    stolen = anchor(transfer(line[0], STRANGER, STRANGER))

    assert check([line[0], stolen]) == [f"{stolen.head}: the owner before did not sign it over"]


def test_p4_a_word_for_another_head_does_not_hand_over(line: list[CustodyLink]) -> None:
    message = transfer_message("NFC-1", "cd" * 32, address(OWNERS[1]))
    word = OwnerWord("cd" * 32, OWNERS[0].public_key.to_hex(), sign(OWNERS[0], message))
    custody = Custody(line[0].head, word)
    content = replace(transfer(line[0], OWNERS[0], OWNERS[1]), custody=custody)

    assert len(check([line[0], anchor(content)])) == 1


def test_s11_the_first_owners_word_is_not_good_for_the_second_owner(
    line: list[CustodyLink],
) -> None:
    replayed = replace(transfer(line[0], OWNERS[0], OWNERS[2]), custody=line[1].content.custody)

    assert check([line[0], anchor(replayed)])


CHANGES: dict[str, Callable[[CustodyLink], CustodyLink]] = {
    "metadata": lambda k: replace(k, content=replace(k.content, metadata={"notes": "red"})),
    "product": lambda k: replace(
        k, content=replace(k.content, product={"uid_tag_id": "NFC-1", "sku": "1"})
    ),
    "uid": lambda k: replace(k, content=replace(k.content, product={"uid_tag_id": "NFC-2"})),
    "owner": lambda k: replace(k, content=replace(k.content, owner=address(STRANGER))),
    "ts": lambda k: replace(k, content=replace(k.content, ts=1)),
    "salt": lambda k: replace(k, salt=bytes(16)),
    "digest": lambda k: replace(k, digest="00" * 32),
    "issuer signature": lambda k: replace(k, issuer_signature="00"),
    "no hex": lambda k: replace(k, issuer_signature="xyz"),
    "issuer key": lambda k: replace(k, issuer_pubkey=STRANGER.public_key.to_hex()),
    "txid": lambda k: replace(k, txid="00" * 32),
    "no transaction": lambda k: replace(k, raw_tx=None),
    "no bytes": lambda k: replace(k, raw_tx=b""),
    "garbage": lambda k: replace(k, raw_tx=b"\x01" * 50),
}


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("position", [0, 1, 2])
def test_whatever_is_changed_is_found(line: list[CustodyLink], what: str, position: int) -> None:
    line[position] = CHANGES[what](line[position])

    assert check(line)


def test_a_line_is_ordered_from_its_registration(line: list[CustodyLink]) -> None:
    shuffled = [line[2], line[0], line[1]]

    assert order_line(shuffled, line[2].head) == line


@pytest.mark.parametrize(
    "break_it",
    [
        lambda line: (line[1:], line[2].head),
        lambda line: ([line[0], line[2]], line[2].head),
        lambda line: (line, line[1].head),
        lambda line: (line, "00" * 32),
        lambda line: ([], "00" * 32),
    ],
)
def test_p4_a_line_with_a_gap_or_a_branch_is_broken(
    line: list[CustodyLink], break_it: Callable[[list[CustodyLink]], tuple[list[CustodyLink], str]]
) -> None:
    links, head = break_it(line)

    with pytest.raises(BrokenLineError):
        order_line(links, head)


def test_a_line_that_runs_in_a_circle_is_broken(line: list[CustodyLink]) -> None:
    custody = line[1].content.custody
    assert custody is not None
    circle = replace(
        line[0],
        content=replace(
            line[0].content,
            kind=RecordKind.TRANSFER,
            custody=replace(custody, prev_txid=line[2].head),
        ),
    )

    with pytest.raises(BrokenLineError):
        order_line([circle, *line[1:]], line[2].head)


def test_two_branches_from_one_record_are_broken(line: list[CustodyLink]) -> None:
    branch = anchor(transfer(line[0], OWNERS[0], STRANGER))

    with pytest.raises(BrokenLineError):
        order_line([*line, branch], line[2].head)


# At the till


@pytest.fixture
def sold() -> list[CustodyLink]:
    """Registered to a shop, sold at its till, and handed on by the customer."""
    links = [anchor(registration())]
    links.append(anchor(sale(links[-1], OWNERS[1])))
    links.append(anchor(transfer(links[-1], OWNERS[1], OWNERS[2])))
    return links


def test_s13_a_sale_stands_on_the_issuers_word_and_the_customers_claim(
    sold: list[CustodyLink],
) -> None:
    assert check(sold) == []
    assert check([sold[0], anchor(sale(sold[0], OWNERS[1]), whole=True)]) == []


def test_s13_an_owner_who_signed_a_sale_is_checked_as_well(sold: list[CustodyLink]) -> None:
    claim = sale(sold[0], OWNERS[1])
    signed = transfer(sold[0], OWNERS[0], OWNERS[1])
    forged = transfer(sold[0], STRANGER, OWNERS[1])
    assert claim.custody is not None
    for content, findings in ((signed, 0), (forged, 1)):
        assert content.custody is not None
        custody = replace(claim.custody, owner_word=content.custody.owner_word)
        link = anchor(replace(claim, custody=custody))

        assert len(check([sold[0], link])) == findings


FALSE_CLAIMS: dict[str, tuple[dict[str, Any], str]] = {
    "owner before": ({"previous_owner": address(STRANGER)}, "names another owner before"),
    "key": ({"public_key_hex": STRANGER.public_key.to_hex()}, "owner did not claim it"),
    "no key": ({"public_key_hex": "zz"}, "owner did not claim it"),
    "signature": ({"signature_der_hex": "00"}, "owner did not claim it"),
    "time": ({"ts": 7}, "owner did not claim it"),
    "nonce": ({"nonce": "abcdeg"}, "owner did not claim it"),
}


@pytest.mark.parametrize(("change", "finding"), FALSE_CLAIMS.values(), ids=FALSE_CLAIMS)
def test_s13_a_sale_whose_evidence_is_wrong_is_found(
    sold: list[CustodyLink], change: dict[str, Any], finding: str
) -> None:
    false = anchor(sale(sold[0], OWNERS[1], **change))

    [found] = check([sold[0], false])
    assert finding in found


def test_s13_a_sale_that_no_pinned_key_signed_is_found(sold: list[CustodyLink]) -> None:
    assert check([sold[0], anchor(sale(sold[0], OWNERS[1]), STRANGER)])


def test_s13_a_claim_of_somebody_else_makes_nobody_an_owner(sold: list[CustodyLink]) -> None:
    stolen = replace(sale(sold[0], OWNERS[1]), owner=address(STRANGER))

    [found] = check([sold[0], anchor(stolen)])
    assert "owner did not claim it" in found


def test_s12_a_claim_moves_a_patch_once(sold: list[CustodyLink]) -> None:
    back = anchor(transfer(sold[1], OWNERS[1], OWNERS[0]))
    custody = sold[1].content.custody
    assert custody is not None
    again = anchor(
        replace(
            sold[1].content,
            custody=replace(custody, prev_txid=back.head),
            ts=back.content.ts + 1,
        )
    )

    assert check([*sold[:2], back, again]) == [f"{again.head}: its claim was used before"]


def test_a_handover_without_any_word_is_found(sold: list[CustodyLink]) -> None:
    custody = Custody(sold[0].head, None)
    content = replace(transfer(sold[0], OWNERS[0], OWNERS[1]), custody=custody)
    link = anchor(content)

    assert check([sold[0], link]) == [f"{link.head}: the owner before did not sign it over"]


@pytest.mark.parametrize("what", CHANGES)
def test_whatever_is_changed_in_a_sale_is_found(sold: list[CustodyLink], what: str) -> None:
    sold[1] = CHANGES[what](sold[1])

    assert check(sold)
