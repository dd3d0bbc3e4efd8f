"""Whatever an erasure may leave behind wrongly is named by the invariants."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.clock import utc_now
from app.models.erasure import Erasure
from app.models.record import AuthenticationRecord
from tests.integration.invariants.test_broken import broken, damage
from tests.integration.privacy.conftest import Story

RULE = "erased-is-gone"


@pytest.fixture
def erased(story: Story) -> AuthenticationRecord:
    """Ben's record, of which he had everything erased."""
    assert not story.ben.erase().is_open
    record: AuthenticationRecord = AuthenticationRecord.objects.get(owner=None)
    return record


def test_an_erasure_leaves_everything_whole(story: Story, erased: AuthenticationRecord) -> None:
    assert broken() == {}


DAMAGES: dict[str, dict[str, Any]] = {
    "an owner that is gone without a word": {"$unset": {"erased_at": 1}},
    "a salt by which a guess is confirmed": {"$set": {"salt": b"s" * 16}},
}


@pytest.mark.parametrize("change", DAMAGES.values(), ids=DAMAGES)
def test_a_record_that_is_half_erased_is_named(
    story: Story, erased: AuthenticationRecord, change: dict[str, Any]
) -> None:
    damage(story.lab, "authentication_records", erased.id, change)

    assert broken() == {RULE: (str(erased.id),)}


def test_p1_an_erasure_that_never_ends_or_still_names_somebody_is_named(
    story: Story, erased: AuthenticationRecord
) -> None:
    digest = story.ben.subject().digest
    damage(story.lab, "erasures", digest, {"$set": {"subject": story.ben.user_id}})
    assert broken() == {RULE: (digest,)}

    damage(story.lab, "erasures", digest, {"$unset": {"finished_at": 1, "subject": 1}})
    assert broken() == {"waiting-has-next-attempt": (digest,)}

    Erasure.objects(subject_digest=digest).update_one(set__next_attempt_at=utc_now())
    assert broken() == {}
