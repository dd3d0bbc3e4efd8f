"""The main job from end to end: a brand, its customers and an operator meet one devnet."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from demo import evidence
from demo.catalogue import Product
from demo.chain import ChainClient, OnChain
from demo.errors import DemoError
from demo.operator import Operator
from demo.report import Row
from demo.sealing import seal
from demo.stage import Stage, Step
from patchproof_client import (
    ApiError,
    Network,
    OwnerKey,
    PatchProofClient,
    Polling,
    Submitted,
    Verification,
)

# What is waited for takes moments here, and is shown in milliseconds.
POLLING = Polling(first_seconds=0.05, factor=1.0, longest_seconds=0.05)
CONFIRM_SECONDS = 30.0
BLOCK_SECONDS = 60.0
BLOCK_POLL_SECONDS = 0.25
SPARE_OUTPUTS = 5
MAX_OUTPUTS = 40
SATOSHIS_PER_OUTPUT = 6000
EVERY_NTH_IS_SOLD = 5
UNLOCKED = 3


@dataclass
class Patch:
    """A product's patch as its owner knows it; `milliseconds` by txid, request to accepted."""

    product: Product
    owner: OwnerKey
    head: str = ""
    status: str = ""
    milliseconds: dict[str, float] = field(default_factory=dict)

    @property
    def uid(self) -> str:
        return self.product.uid_tag_id


class Story:
    """One run. Every step raises when what it shows does not hold."""

    def __init__(self, stage: Stage, exports: Mapping[str, str], products: Sequence[Product]):
        self._stage = stage
        self._exports = exports
        self._network = Network(exports["WOC_NETWORK"])
        self._issuer_keys = exports["ISSUER_PUBLIC_KEYS"].split(",")
        self._operator = Operator(exports)
        self._chain = ChainClient(exports["WOC_BASE_URL"], exports["CHAIN_CONTROL_URL"])
        self._client = PatchProofClient(exports["BASE_URL"], exports["API_KEY"])
        self._patches = [Patch(each, OwnerKey.generate(self._network)) for each in products]
        self._sold = self._patches[::EVERY_NTH_IS_SOLD]

    def tell(self) -> list[Row]:
        """Plays all steps; answers one row for each record, as the chain has it in the end."""
        try:
            self._fill_pool()
            self._register()
            self._verify("Verify all, with their transactions from the chain", self._patches)
            self._transfer()
            self._refuse()
            self._unlock()
            self._verify("Verify the new owners", self._sold)
            return self._collect()
        finally:
            self._client.close()
            self._chain.close()

    def _fill_pool(self) -> None:
        target = min(MAX_OUTPUTS, len(self._patches) + SPARE_OUTPUTS)
        satoshis = target * SATOSHIS_PER_OUTPUT
        with self._stage.step("Fund the pool from the faucet", "chain") as step:
            txid = self._chain.fund(self._exports["UTXO_FUNDING_ADDRESS"], satoshis)
            height = self._chain.mine()
            step.note = f"{satoshis} satoshis in {txid}, block {height}"
        with self._stage.step("manage.py utxo sync", "chain") as step:
            report = self._operator.sync_pool()
            step.note = f"{report['added']} outputs added"
        with self._stage.step(f"manage.py utxo split --target {target}", "signer") as step:
            split = self._operator.split_pool(target)
            step.note = f"{split['outcome']}, {split['outputs']} outputs"

    def _register(self) -> None:
        with self._stage.step(f"Register {len(self._patches)} products", "worker") as step:
            step.each(self._patches, self._register_one)
            step.note = "each 202, then pending, then confirmed"
        with self._stage.step("manage.py keys token --user demo", "web"):
            self._client.use_token(self._operator.issue_token("demo"))

    def _register_one(self, patch: Patch) -> None:
        self._follow(patch, lambda: self._send_registration(patch, patch.owner))

    def _send_registration(self, patch: Patch, owner: OwnerKey) -> Submitted:
        product = patch.product
        return self._client.register(product.product, owner.address, product.metadata)

    def _follow(self, patch: Patch, send: Callable[[], Submitted]) -> None:
        """Sends a request and asks until the network has its transaction."""
        begun = time.perf_counter()
        patch.head = self._client.wait_until_confirmed(
            send(), timeout_seconds=CONFIRM_SECONDS, polling=POLLING
        )
        patch.milliseconds[patch.head] = (time.perf_counter() - begun) * 1000

    def _verify(self, title: str, patches: Sequence[Patch]) -> None:
        with self._stage.step("Mine a block, wait until verify shows it", "worker") as step:
            height = self._chain.mine()
            answers = step.each(patches, self._wait_for_block)
            step.note = f"block {height}"
        with self._stage.step(title, "web") as step:
            on_chain = self._chain.load(answer.details.txid for answer in answers)
            for patch, answer in zip(patches, answers, strict=True):
                self._check(patch, answer, on_chain[answer.details.txid])
            step.note = f"{len(patches)} authentic: scripts run, envelopes and signatures compared"

    def _wait_for_block(self, patch: Patch) -> Verification:
        deadline = time.monotonic() + BLOCK_SECONDS
        while True:
            answer = self._client.verify(patch.uid)
            if answer.details.block_height is not None:
                return answer
            if time.monotonic() > deadline:
                raise DemoError(f"{patch.uid} shows no block after {BLOCK_SECONDS:.0f} seconds")
            time.sleep(BLOCK_POLL_SECONDS)

    def _check(self, patch: Patch, answer: Verification, on_chain: OnChain) -> None:
        if answer.status != "authentic" or not answer.details.issuer_signature_valid:
            raise DemoError(f"{patch.uid} is {answer.status}: {'; '.join(answer.details.findings)}")
        if answer.record["product"] != patch.product.product:
            raise DemoError(f"{patch.uid} is described otherwise than it was registered")
        if answer.record["metadata"] != patch.product.metadata:
            raise DemoError(f"{patch.uid} has other metadata than it was registered with")
        if answer.record["auth"]["owner"] != patch.owner.address:
            raise DemoError(f"{patch.uid} belongs to somebody else than it should")
        patch.status = answer.status
        evidence.check(answer, on_chain, self._issuer_keys)

    def _transfer(self) -> None:
        with self._stage.step(f"Hand {len(self._sold)} patches to new owners", "worker") as step:
            step.each(self._sold, self._transfer_one)
            step.note = "signed with the keys of the owners before"

    def _transfer_one(self, patch: Patch) -> None:
        buyer, seller, head = OwnerKey.generate(self._network), patch.owner, patch.head
        self._follow(patch, lambda: self._client.transfer(patch.uid, head, seller, buyer.address))
        patch.owner = buyer

    def _refuse(self) -> None:
        patch, thief = self._sold[0], OwnerKey.generate(self._network)
        with self._stage.step("Try what must not work", "web") as step:
            self._expect(
                step,
                403,
                "a stranger's transfer",
                lambda: self._client.transfer(patch.uid, patch.head, thief, thief.address),
            )
            self._expect(
                step,
                409,
                "a second registration",
                lambda: self._send_registration(patch, thief),
            )
            self._expect(
                step, 404, "a tag that nobody sewed in", lambda: self._client.verify("0400FA")
            )

    def _expect(self, step: Step, status: int, attempt: str, send: Callable[[], object]) -> None:
        try:
            send()
        except ApiError as error:
            if error.status != status:
                raise DemoError(
                    f"{attempt} is answered {error.status} instead of {status}"
                ) from error
            step.show(f"{attempt}: {error.status} {error.code}")
        else:
            raise DemoError(f"{attempt} went through instead of being refused with {status}")

    def _unlock(self) -> None:
        with self._stage.step("Unlock content that was sealed for the owner", "web") as step:
            for patch in self._sold[:UNLOCKED]:
                step.show(self._unlock_one(patch))

    def _unlock_one(self, patch: Patch) -> str:
        text = f"Care card of {patch.product.name}: keep it dry, wear it often."
        secret = self._exports["MASTER_SECRET"]
        sealed = seal(text, uid_tag_id=patch.uid, master_secret=secret)
        unlocked = self._client.unlock(
            patch.uid, patch.owner, current_txid=patch.head, sealed=sealed
        )
        if unlocked.content != text:
            raise DemoError(f"{patch.uid} opened as {unlocked.content!r}")
        return text

    def _collect(self) -> list[Row]:
        with self._stage.step("Read every line of custody, fees from the chain", "web") as step:
            rows = [row for patch in self._patches for row in self._rows_of(patch)]
            step.note = f"{len(rows)} records"
        return rows

    def _rows_of(self, patch: Patch) -> list[Row]:
        events = self._client.history(patch.uid)
        if [event.txid for event in events] != list(patch.milliseconds):
            raise DemoError(f"{patch.uid} has another line of custody than it was given")
        on_chain = self._chain.load(event.anchor_txid for event in events)
        return [
            Row(
                uid_tag_id=patch.uid,
                name=patch.product.name,
                kind=event.kind.lower(),
                status=patch.status,
                txid=event.anchor_txid,
                block_height=event.block_height,
                fee_satoshis=on_chain[event.anchor_txid].transaction.fee_satoshis,
                milliseconds=round(patch.milliseconds[event.txid], 1),
                owner=event.owner or "erased",
            )
            for event in events
        ]
