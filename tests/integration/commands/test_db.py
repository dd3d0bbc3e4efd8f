"""`manage.py db`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app import extensions
from app.models.utxo import Utxo
from tests.integration.commands.conftest import Manage
from tests.integration.pool.world import World

LOTS = "status_1_key_identifier_1_lot_1"


@pytest.fixture
def without_lots(world: World) -> Iterator[None]:
    """A database that lacks an index, until the test is over."""
    Utxo._get_collection().drop_index(LOTS)
    yield
    collection = Utxo._get_collection()
    if LOTS in collection.index_information():
        collection.drop_index(LOTS)
    extensions.ensure_indexes()


@pytest.mark.usefixtures("without_lots")
def test_indexes_are_built_where_they_are_missing(manage: Manage) -> None:
    missing = manage("db", "indexes", "--check", "--json")
    built = manage("db", "indexes", "--json")

    assert missing.code == 1
    assert [text.startswith("utxos: ") for text in missing.json["missing"]] == [True]
    assert built.code == 0
    assert "utxos" in built.json["collections"]
    assert manage("db", "indexes", "--check").code == 0


@pytest.mark.usefixtures("without_lots")
def test_an_index_of_another_definition_is_refused_with_what_to_do(manage: Manage) -> None:
    """A database that is older, or that somebody has changed."""
    Utxo._get_collection().create_index([("lot", 1)], name=LOTS)

    refused = manage("db", "indexes")

    assert refused.code == 5
    assert "dropIndex" in refused.stderr
    assert LOTS in refused.stderr
    assert "utxos" in refused.stderr
    Utxo._get_collection().drop_index(LOTS)
    assert manage("db", "indexes").code == 0
    assert extensions.missing_indexes() == []
