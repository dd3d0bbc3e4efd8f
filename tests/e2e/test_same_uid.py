"""One patch has one registration, however many ask at once."""

from __future__ import annotations

import threading
from collections import Counter

from patchproof_client import Submitted
from tests.e2e.system import System, at_once

REQUESTS = 20


def test_twenty_requests_for_one_uid_give_one_record_and_one_transaction(system: System) -> None:
    [product] = system.make_products(1)
    before = system.envelopes().keys()
    start = threading.Barrier(REQUESTS)

    def register() -> tuple[int, dict[str, str]]:
        body = {
            "product": dict(product.product),
            "metadata": dict(product.metadata),
            "auth": {"owner": system.make_owner().address},
        }
        start.wait(timeout=10)
        answer = system.send("POST", "/v1/patches", json=body, headers=system.api_key)
        return answer.status_code, answer.json()

    answers = at_once([register] * REQUESTS, threads=REQUESTS)
    assert Counter(status for status, _ in answers) == {202: 1, 409: 19}
    assert {body["code"] for status, body in answers if status == 409} == {
        "patch_already_registered"
    }
    [accepted] = [body for status, body in answers if status == 202]
    txid = system.confirm(Submitted("registration", product.uid_tag_id, accepted["pendingId"]))
    assert system.envelopes().keys() - before == {txid}
    [record] = system.records(uid_tag_id=product.uid_tag_id)
    assert (record["status"], record["txid"]) == ("confirmed", txid)
    [transaction] = system.transactions(**{"records.uid_tag_id": product.uid_tag_id})
    assert transaction["txid"] == txid


def test_twenty_requests_with_one_idempotency_key_have_one_answer(system: System) -> None:
    [product], owner = system.make_products(1), system.make_owner()
    before = system.envelopes().keys()
    start = threading.Barrier(REQUESTS)

    def register() -> Submitted:
        start.wait(timeout=10)
        return system.client.register(
            product.product, owner.address, product.metadata, idempotency_key=product.uid_tag_id
        )

    answers = at_once([register] * REQUESTS, threads=REQUESTS)
    assert len({answer.pending_id for answer in answers}) == 1
    assert Counter(answer.is_replayed for answer in answers) == {True: 19, False: 1}
    txid = system.confirm(answers[0])
    assert system.envelopes().keys() - before == {txid}
    assert len(system.records(uid_tag_id=product.uid_tag_id)) == 1
