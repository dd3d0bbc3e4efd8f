"""What monitoring reads of logins, in the names of the contract."""

from __future__ import annotations

from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.domain.clock import utc_now
from app.services import challenges
from tests.integration.api.caller import Caller
from tests.integration.login.conftest import UNLIMITED
from tests.integration.login.people import Person, raised_s

EVENTS = "patchproof_svd_events_total"
AGES = "patchproof_svd_challenge_age_seconds"


def samples(caller: Caller, name: str) -> dict[frozenset[tuple[str, str]], float]:
    """The samples of a name by their labels."""
    response = caller.get("/metrics")
    assert response.status_code == 200
    return {
        frozenset(sample.labels.items()): sample.value
        for family in text_string_to_metric_families(response.get_data(as_text=True))
        for sample in family.samples
        if sample.name == name
    }


def events(caller: Caller) -> dict[str, float]:
    """How often each event was counted, under any key."""
    found: dict[str, float] = {}
    for labels, value in samples(caller, EVENTS).items():
        event = dict(labels)["event_type"]
        found[event] = found.get(event, 0) + value
    return found


def test_f28_what_became_of_logins_is_counted(caller: Caller, person: Person) -> None:
    challenge = person.begin()
    assert person.complete(challenge, raised_s(person.sign(challenge))).status_code == 401
    assert person.complete(challenge, "30" * 35).status_code == 401
    assert person.complete(challenge).status_code == 200
    assert person.complete(challenge).status_code == 409
    assert person.complete("00" * 24).status_code == 400
    assert Person(caller).complete(person.begin()).status_code == 400
    assert events(caller) == {
        "begin": 2,
        "malleable_reject": 1,
        "invalid": 2,
        "complete": 1,
        "replayed": 1,
        "expired": 1,
    }


def test_f28_events_carry_the_signers_key_and_the_release(caller: Caller) -> None:
    caller.start(**UNLIMITED, DEPLOY_SHA="abc123")
    person = Person(caller)
    person.register()
    person.log_in()
    kid = caller.get("/api/svd/kid").json["kid"]
    complete = {("event_type", "complete"), ("kid", kid), ("sha", "abc123")}
    assert samples(caller, EVENTS)[frozenset(complete)] == 1
    # Another release counts for itself.
    caller.start(**UNLIMITED, DEPLOY_SHA="def456")
    assert events(caller) == {}


def test_f28_ages_of_challenges_are_observed(
    caller: Caller, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seconds in (0, 20, 150):
        challenge = person.begin()
        with monkeypatch.context() as patched:
            later = utc_now() + timedelta(seconds=seconds)
            patched.setattr(challenges, "utc_now", lambda later=later: later)
            assert person.complete(challenge).status_code == 200
    buckets = {
        dict(labels)["le"]: value for labels, value in samples(caller, f"{AGES}_bucket").items()
    }
    assert buckets == {
        "15.0": 1,
        "30.0": 2,
        "60.0": 2,
        "120.0": 2,
        "180.0": 3,
        "300.0": 3,
        "+Inf": 3,
    }
    assert list(samples(caller, f"{AGES}_count").values()) == [3]
    (total,) = samples(caller, f"{AGES}_sum").values()
    assert 170 <= total < 170 + 60
