"""Checking an API key of the database, which every request with one pays."""

from __future__ import annotations

from app.domain.api_keys import KeyText, Scope
from app.errors import UnauthorizedError
from app.services import api_keys
from tests.bench.measuring import Work, in_turn, repeat, show
from tests.integration.services.lab import Lab

KEYS = 200
IN_A_ROUND = 200
ROUNDS = 9
BARE = "bare find_one by _id"


def test_checking_a_key(lab: Lab) -> None:
    """Among as many keys as a large operator has, beside the same find alone."""
    made = [api_keys.create(f"key-{number}", [Scope.PATCHES_WRITE]) for number in range(KEYS)]
    key, prefix = made[KEYS // 2].text.encode(), made[KEYS // 2].facts.prefix
    static = lab.env["API_KEY"].encode()
    stranger = KeyText.generate().text.encode()
    collection = lab.collection("api_keys")

    def refuse() -> None:
        try:
            api_keys.authenticate(stranger)
        except UnauthorizedError:
            return
        raise AssertionError("a stranger was let in")

    works: dict[str, Work] = {
        "a key of the database": repeat(IN_A_ROUND, lambda: api_keys.authenticate(key)),
        "an unknown prefix": repeat(IN_A_ROUND, refuse),
        "API_KEY": repeat(IN_A_ROUND, lambda: api_keys.authenticate(static)),
        BARE: repeat(IN_A_ROUND, lambda: collection.find_one({"_id": prefix})),
    }
    costs = in_turn(works, rounds=ROUNDS)
    rows = [
        [name, cost.milliseconds, cost.cpu_milliseconds, cost.over(costs[BARE])]
        for name, cost in costs.items()
    ]
    show("Checking an API key", ["", "ms", "CPU ms", "x bare"], rows)
