"""The indexes that promises rest on."""

from __future__ import annotations

from app import extensions
from tests.integration.services.lab import Lab


def names_of(lab: Lab, collection: str) -> set[str]:
    return set(lab.collection(collection).index_information())


def test_d9_building_indexes_drops_none_of_somebody_elses(lab: Lab) -> None:
    lab.collection("utxos").create_index("note", name="an_operators")

    extensions.ensure_indexes()

    assert "an_operators" in names_of(lab, "utxos")
    assert extensions.missing_indexes() == []
    lab.collection("utxos").drop_index("an_operators")


def test_a_missing_index_is_named_and_built_again(lab: Lab) -> None:
    records = lab.collection("authentication_records")
    [name] = [n for n in names_of(lab, "authentication_records") if n.startswith("active_key")]
    records.drop_index(name)

    missing = extensions.missing_indexes()

    assert len(missing) == 1
    assert "active_key" in missing[0]
    extensions.ensure_indexes()
    assert extensions.missing_indexes() == []


def test_s2_what_must_be_unique_is_unique(lab: Lab) -> None:
    unique = {
        name: {
            keys["key"][0][0]
            for keys in lab.collection(name).index_information().values()
            if keys.get("unique")
        }
        for name in ("authentication_records", "transactions", "patch_states", "claim_intents")
    }

    assert unique["authentication_records"] == {"active_key", "head", "idempotency_key"}
    assert unique["transactions"] == {"txid"}
    assert unique["patch_states"] == {"head"}
    # The first is a nonce with its key.
    assert unique["claim_intents"] == {"customer_public_key_hex", "signature", "record_id"}


def test_s12_what_is_only_kept_for_a_while_is_deleted_by_the_database(lab: Lab) -> None:
    indexes = lab.collection("claim_intents").index_information().values()

    deleting = [keys for keys in indexes if "expireAfterSeconds" in keys]
    assert [(dict(keys["key"]), keys["expireAfterSeconds"]) for keys in deleting] == [
        ({"purge_at": 1}, 0)
    ]
