"""The application in this process with a database, a Redis and a signer, and people who log in."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest

from app import extensions
from devnet.supervisor import Devnet
from tests.integration.api.caller import Caller
from tests.integration.login.people import Person
from tests.integration.services.lab import Lab

# How often one may ask is tested where limits are.
UNLIMITED = {
    f"{name}_MAX": "1000000"
    for name in ("PUBLIC_API", "SVD_BEGIN", "SVD_COMPLETE", "SVD_CANARY", "READING", "WRITING")
}
MakePerson = Callable[..., Person]


@pytest.fixture
def caller(clean_devnet: Devnet) -> Iterator[Caller]:
    """A client of the application; `start` changes settings."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    caller = Caller(Lab(clean_devnet))
    caller.start(**UNLIMITED)
    if extensions.missing_indexes():
        extensions.ensure_indexes()
    yield caller
    caller.lab.close()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def make_person(caller: Caller) -> MakePerson:
    """Makes somebody who has registered a key."""

    def make(user_id: str | None = None) -> Person:
        person = Person(caller) if user_id is None else Person(caller, user_id=user_id)
        response = person.register()
        assert response.status_code == 201, response.get_data(as_text=True)
        return person

    return make


@pytest.fixture
def person(make_person: MakePerson) -> Person:
    """Somebody with a key."""
    return make_person()
