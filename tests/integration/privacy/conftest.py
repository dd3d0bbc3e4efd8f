"""The services in this process, and a patch with a past."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from devnet.supervisor import Devnet
from tests.integration.privacy.people import Member, bury, hand_on
from tests.integration.services.lab import Lab, Owner, open_lab

UID = "NFC-1"


@pytest.fixture
def lab(clean_devnet: Devnet) -> Iterator[Lab]:
    with open_lab(clean_devnet) as opened:
        opened.configure(JOBS_ASYNC="0")
        yield opened


@dataclass(frozen=True)
class Story:
    """A patch that went from the brand to Ann, to Ben, to Cat; all of it is final."""

    lab: Lab
    brand: Owner
    ann: Member
    ben: Member
    cat: Owner


@pytest.fixture
def story(lab: Lab) -> Story:
    return tell(lab)


def tell(lab: Lab) -> Story:
    brand, cat = Owner(), Owner()
    ann, ben = Member().join(), Member().join()
    lab.fill_pool(6)
    lab.registered(UID, brand)
    for seller, buyer in ((brand, ann.owner), (ann.owner, ben.owner), (ben.owner, cat)):
        hand_on(lab, UID, seller, buyer)
    bury(lab)
    return Story(lab, brand, ann, ben, cat)
