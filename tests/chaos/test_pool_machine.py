"""The pool and the records through random orders of operations, crashes and faults.

The model is simple: whatever was accepted is confirmed in the end, once, and the owner of a patch
is whoever the last accepted transfer names. The world may lie, drop and undo what it likes.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from app.bitcoin.transactions import Transaction
from app.clients.outcomes import ClientError
from app.domain.clock import utc_now
from app.domain.states import TRANSACTION_DEAD, RecordStatus, UtxoStatus
from app.errors import ConflictError, PatchProofError
from app.models.patch_state import PatchState
from app.models.record import AuthenticationRecord
from app.models.setting import Setting
from app.models.transaction import ChainTransaction
from app.models.utxo import Utxo
from app.services import (
    anchoring,
    pool_split,
    pool_sweep,
    pool_sync,
    reaper,
    sweeper,
    tracker,
)
from tests.chaos.deaths import dying_after
from tests.chaos.steps import let_maintenance_run_out, list_unfinished, pass_time
from tests.integration.services.invariants import check_at_rest
from tests.integration.services.lab import Lab, Owner

EXAMPLES = int(os.environ.get("CHAOS_EXAMPLES", "8"))
STEPS = int(os.environ.get("CHAOS_STEPS", "40"))
_ROUNDS = 8
_UNAVAILABLE = (ClientError, PatchProofError)

WORK: dict[str, Callable[[], Any]] = {
    "anchor": lambda: anchoring.anchor_due(100),
    "anchor one": lambda: anchoring.anchor_due(1),
    "anchor two": lambda: anchoring.anchor_due(2),
    "sweep": sweeper.sweep,
    "reap": reaper.reap,
    "track": tracker.track,
    "sync": pool_sync.sync,
    "split": lambda: pool_split.split(ignore_cooldown=True),
    "sweep dust": pool_sweep.sweep_dust,
}
WORKS = st.sampled_from([*WORK, "anchor", "anchor", "sweep", "reap", "reap"])
# Of whatever there is then, the one of that number: what is drawn must not depend on the world.
PICK = st.integers(0, 9)
IS_LATER = st.sampled_from([True, True, False])
FAULTS: dict[str, dict[str, Any]] = {
    "false missing inputs": {"kind": "false_missing_inputs"},
    "accepted, called missing": {"kind": "accept_then_missing_inputs"},
    "answer lost": {"kind": "cut_after"},
    "nothing arrives": {"kind": "cut_before"},
    "no outputs": {"kind": "hide_outputs"},
    "web pages": {"kind": "garbage"},
    "too many": {"kind": "status", "status": 429},
    "away": {"kind": "status", "status": 503},
    "bad proofs": {"kind": "bad_merkle_path"},
}


@dataclass
class Patch:
    """What the model knows of a patch: its owners in order, each accepted."""

    uid: str
    owners: list[Owner] = field(default_factory=list)


class PoolMachine(RuleBasedStateMachine):
    """What may happen, in any order."""

    def __init__(self, lab: Lab) -> None:
        super().__init__()
        self.lab = lab
        self.patches: dict[str, Patch] = {}
        self.is_strange = False

    @initialize(coins=st.integers(1, 3), patches=st.integers(1, 3))
    def begin(self, coins: int, patches: int) -> None:
        for name in ("authentication_records", "transactions", "utxos", "patch_states", "settings"):
            self.lab.collection(name).delete_many({})
        let_maintenance_run_out(self.lab)
        self.lab.clear_faults()
        self.lab.begin()
        Setting.put("MIN_UTXO_COUNT", 3)
        Setting.put("DUST_SWEEP_LIMIT", 2)
        self._fund(coins, 20_000)
        self.register(patches)

    # What people do

    @rule(count=st.integers(1, 2))
    def register(self, count: int) -> None:
        for _ in range(count):
            patch = Patch(f"NFC-{len(self.patches)}", [Owner()])
            self.lab.register(patch.uid, patch.owners[0])
            self.patches[patch.uid] = patch

    @rule(pick=PICK, is_back=st.booleans())
    def transfer(self, pick: int, is_back: bool) -> None:
        """Hands a patch on; what is not registered yet is registered a second time instead."""
        patch = self.patches[f"NFC-{pick % len(self.patches)}"]
        state = PatchState.find(patch.uid)
        if state is None:
            _must_be_refused(lambda: self.lab.register(patch.uid))
            return
        if AuthenticationRecord.find_confirmed(state.head) is None:
            # Settling has died in between; whoever settles again confirms it.
            return
        owner = next(each for each in patch.owners if each.address == state.owner)
        new_owner = patch.owners[0] if is_back else Owner()

        def act() -> None:
            self.lab.transfer(state.head, owner, new_owner, patch.uid)

        if AuthenticationRecord.objects(active_key=f"xfer:{state.head}").count():
            _must_be_refused(act)
        else:
            act()
            patch.owners.append(new_owner)

    # What workers do, to the end or until they die, soon or when leases have run out

    @rule(work=WORKS, is_later=IS_LATER)
    def work(self, work: str, is_later: bool) -> None:
        if is_later:
            self._let_time_pass()
        with suppress(*_UNAVAILABLE):
            WORK[work]()

    @rule(work=WORKS, steps=st.integers(0, 17), is_before=st.booleans(), is_later=IS_LATER)
    def work_and_die(self, work: str, steps: int, is_before: bool, is_later: bool) -> None:
        if is_later:
            self._let_time_pass()
        with dying_after(steps, is_before=is_before) as life:
            self.work(work, is_later=False)
        event(f"{work} {'died' if life.is_over else 'came to its end'}")

    @rule(work=WORKS, fault=st.sampled_from(sorted(FAULTS)), times=st.integers(1, 3))
    def work_while_lied_to(self, work: str, fault: str, times: int) -> None:
        self.lab.set_faults({**FAULTS[fault], "times": times})
        self.work(work, is_later=True)

    @rule(steps=st.integers(5, 17), work=WORKS)
    def anchor_die_and_go_on(self, steps: int, work: str) -> None:
        """The way that money goes most: a pass dies, and somebody else finds what it has left."""
        self.work_and_die("anchor", steps, is_before=True, is_later=True)
        self.work(work, is_later=True)

    # What the world does

    @rule(outputs=st.integers(1, 3), satoshis=st.sampled_from([60, 700, 20_000, 60_000]))
    def fund(self, outputs: int, satoshis: int) -> None:
        self._fund(outputs, satoshis)

    @rule(pick=PICK, what=st.sampled_from(["mine", "reorganise", "evict", "spend outside"]))
    def change_the_chain(self, pick: int, what: str) -> None:
        self.lab.clear_faults()
        if what == "mine":
            self.lab.mine()
        elif what == "reorganise":
            self.lab.control("reorg", {"depth": 1})
        elif what == "evict":
            self._evict(pick)
        else:
            self._spend_outside(pick)

    def _evict(self, pick: int) -> None:
        """Drops one of our transactions; what outsiders have paid us is deep in the chain."""
        sent = ChainTransaction.objects(status="accepted", settled_at__ne=None)
        if txids := sorted(sent.scalar("txid")):
            self.lab.control("evict", {"txids": [txids[pick % len(txids)]]})

    def _spend_outside(self, pick: int) -> None:
        if coins := self._spendable_outside():
            self.is_strange = True
            self.lab.spend_coin_outside(coins[pick % len(coins)])
            if pick % 2:
                self.lab.mine()

    # What must hold

    @invariant()
    def no_output_is_spent_twice(self) -> None:
        live = ChainTransaction.objects(status__nin=list(TRANSACTION_DEAD)).only("inputs")
        spends = Counter(each.outpoint for t in live for each in t.inputs)
        assert not [point for point, times in spends.items() if times > 1]

    def teardown(self) -> None:
        if not self.patches:
            return
        self.lab.clear_faults()
        self._go_on_until_quiet(["reap", "sweep", "track"])
        if not list_unfinished(self.lab) and not self.is_strange:
            # Nobody has paid or spent behind our back: the pool is right without having asked.
            check_at_rest(self.lab)
        self._fund(len(self.patches) + 3, 20_000)
        self._go_on_until_quiet(["sync", "reap", "sweep", "track"])
        assert not list_unfinished(self.lab)
        WORK["sync"]()
        check_at_rest(self.lab)
        for patch in self.patches.values():
            self._must_be_as_accepted(patch)

    def _go_on_until_quiet(self, works: Sequence[str]) -> None:
        for _ in range(_ROUNDS):
            self._let_time_pass()
            for work in works:
                WORK[work]()
            self.lab.mine()
            if not list_unfinished(self.lab) and not self._unmined():
                return

    def _must_be_as_accepted(self, patch: Patch) -> None:
        records = AuthenticationRecord.objects(uid_tag_id=patch.uid)
        assert [r.status for r in records] == [RecordStatus.CONFIRMED.value] * len(patch.owners)
        state = PatchState.find(patch.uid)
        assert state is not None
        assert state.owner == patch.owners[-1].address

    def _let_time_pass(self) -> None:
        pass_time(self.lab)
        self.lab.collection("transactions").update_many(
            {"status": {"$in": ["accepted", "mined"]}}, {"$set": {"next_attempt_at": utc_now()}}
        )
        let_maintenance_run_out(self.lab)

    def _fund(self, outputs: int, satoshis: int) -> None:
        """Pays us, too deep in the chain for a reorganisation."""
        self.lab.clear_faults()
        self.lab.fund(outputs, satoshis)
        self.lab.mine(2)
        try:
            WORK["sync"]()
        except _UNAVAILABLE:
            self.is_strange = True

    def _spendable_outside(self) -> list[Utxo]:
        rows = self.lab.chain_transactions().values()
        on_chain = [Transaction.from_hex(row["hex"]) for row in rows]
        txids = {transaction.txid for transaction in on_chain}
        spent = {str(each.outpoint) for transaction in on_chain for each in transaction.inputs}
        coins = Utxo.objects(status=UtxoStatus.AVAILABLE.value).order_by("outpoint")
        return [c for c in coins if c.point.txid in txids and c.outpoint not in spent]

    def _unmined(self) -> int:
        return int(ChainTransaction.objects(status="accepted").count())


def _must_be_refused(act: Callable[[], Any]) -> None:
    try:
        act()
    except ConflictError:
        return
    raise AssertionError("accepted twice")


def test_p1_to_p4_in_any_order(lab: Lab) -> None:
    lab.configure(MAX_ANCHOR_ATTEMPTS="1000", UTXO_MIN_POOL="1")
    run_state_machine_as_test(
        lambda: PoolMachine(lab),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
