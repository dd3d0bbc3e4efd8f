"""A line of custody of which parts were erased: what is left is checked as strictly as ever."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from app.domain.custody import CustodyLink, is_endorsed
from app.domain.records import (
    ErasedContentError,
    MovedBy,
    Piece,
    RecordContent,
    without,
)
from tests.unit.domain.test_custody import (
    CHANGES,
    OWNERS,
    PINNED,
    STRANGER,
    address,
    anchor,
    check,
    registration,
    sale,
    transfer,
)

# Of an erased record nothing else holds these; the database reads its uid by the patch.
ONLY_IN_THE_DIGEST = {"salt", "digest", "product", "uid", "ts"}


def erase_owner(link: CustodyLink) -> CustodyLink:
    """What is left once its owner is erased."""
    custody, pieces = link.content.custody, {Piece.OWNER}
    if custody is not None and custody.owner_word is not None:
        pieces.add(Piece.OWNER_WORD)
    if custody is not None and custody.claim is not None:
        pieces.add(Piece.CLAIM)
    kept = None if custody is None else replace(custody, owner_word=None, claim=None)
    return _left(link, replace(link.content, owner=None, custody=kept), pieces)


def erase_handover(link: CustodyLink) -> CustodyLink:
    """What is left once the owner before is erased."""
    custody, pieces = link.content.custody, set()
    assert custody is not None
    if custody.owner_word is not None:
        pieces.add(Piece.OWNER_WORD)
    claim = custody.claim
    if claim is not None:
        pieces.add(Piece.PREVIOUS_OWNER)
        claim = replace(claim, previous_owner=None)
    kept = replace(custody, owner_word=None, claim=claim)
    return _left(link, replace(link.content, custody=kept), pieces)


def _left(link: CustodyLink, content: RecordContent, pieces: set[Piece]) -> CustodyLink:
    erased = replace(content, erased=link.content.erased | pieces)
    return replace(link, content=erased, salt=None)


@pytest.fixture(params=[False, True], ids=["commitment", "record"])
def line(request: pytest.FixtureRequest) -> list[CustodyLink]:
    """Registered, sold at a till, handed on twice; the second owner had all of it erased."""
    whole = request.param
    links = [anchor(registration(), whole=whole)]
    links.append(anchor(sale(links[-1], OWNERS[1]), whole=whole))
    for seller, buyer in pairwise([OWNERS[1], OWNERS[2], OWNERS[0]]):
        links.append(anchor(transfer(links[-1], seller, buyer), whole=whole))
    return [links[0], erase_owner(links[1]), erase_handover(links[2]), links[3]]


def test_p1_a_line_with_an_erased_owner_has_no_findings(line: list[CustodyLink]) -> None:
    assert check(line) == []


def test_a_line_of_which_everybody_but_the_last_is_erased_has_no_findings(
    line: list[CustodyLink],
) -> None:
    erased = [erase_owner(link) for link in line[:3]]

    assert check([*erased, erase_handover(line[3])]) == []


def test_an_erased_registration_is_still_held_to_the_issuers_signature(
    line: list[CustodyLink],
) -> None:
    first = erase_owner(line[0])

    assert is_endorsed(first, PINNED)
    assert check([replace(first, issuer_signature="00"), *line[1:]])


def test_what_names_the_erased_owner_can_not_be_made_again(line: list[CustodyLink]) -> None:
    erased = line[1]

    assert erased.content.is_endorsement_erased
    assert not is_endorsed(erased, PINNED)
    with pytest.raises(ErasedContentError):
        erased.content.endorsement_message()


def test_an_erased_record_still_says_on_whose_word_it_came(line: list[CustodyLink]) -> None:
    assert [link.content.moved_by for link in line] == [
        MovedBy.REGISTRATION,
        MovedBy.POINT_OF_SALE,
        MovedBy.OWNER_SIGNATURE,
        MovedBy.OWNER_SIGNATURE,
    ]


def test_p2_the_view_of_an_erased_record_names_nobody(line: list[CustodyLink]) -> None:
    auth = line[1].content.public_view("02", "30")["auth"]

    assert set(auth) == {"issuer_pubkey", "issuer_signature", "ts", "prev_txid", "erased"}
    assert auth["erased"] == ["claim", "owner"]
    handed_on = line[2].content.public_view("02", "30")["auth"]
    assert set(handed_on) == {*auth, "owner"}
    assert handed_on["owner"] == address(OWNERS[2])


@pytest.mark.parametrize("position", range(4))
@pytest.mark.parametrize("what", sorted(set(CHANGES) - ONLY_IN_THE_DIGEST))
def test_whatever_is_changed_of_what_is_left_is_found(
    line: list[CustodyLink], what: str, position: int
) -> None:
    line[position] = CHANGES[what](line[position])

    assert check(line)


FORGERIES: dict[str, Callable[[CustodyLink], CustodyLink]] = {
    "a handover that is said to be erased and names a thief": lambda link: erase_handover(
        replace(link, content=replace(link.content, owner=address(STRANGER)))
    ),
    "an issuer that is not ours": lambda link: erase_owner(
        replace(link, issuer_pubkey=STRANGER.public_key.to_hex())
    ),
    "bytes of another transaction": lambda link: erase_owner(replace(link, raw_tx=b"\x01" * 60)),
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_what_calls_itself_erased_is_held_against_the_chain(
    line: list[CustodyLink], forge: Callable[[CustodyLink], CustodyLink]
) -> None:
    last = forge(line[3])

    assert check([*line[:3], last])


def test_a_whole_view_without_its_pieces_is_the_view_that_is_left() -> None:
    whole = anchor(sale(anchor(registration()), OWNERS[1]))
    left = erase_owner(whole)
    view = whole.content.public_view(whole.issuer_pubkey, whole.issuer_signature)

    assert without(view, left.content.erased) == left.content.public_view(
        left.issuer_pubkey, left.issuer_signature
    )
