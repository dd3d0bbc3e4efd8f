"""People who register patches and hand them on, whatever the service answers or fails to answer."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import requests

from app.domain.messages import transfer_message
from tests.integration.services.lab import Owner

PAUSE_SECONDS = 0.15
LIVE_PATCHES = 12
_serials = count(1)


@dataclass
class Patch:
    """A patch, its owners as accepted, and what is under way for it."""

    uid: str = field(default_factory=lambda: f"STORM-{next(_serials):05}")
    owners: list[Owner] = field(default_factory=lambda: [Owner()])
    pending: tuple[str, str] | None = None
    head: str | None = None


@dataclass(frozen=True)
class Promise:
    """A record that was answered with a 2xx."""

    kind: str
    uid: str
    pending_id: str


class Clients(threading.Thread):
    """Sends requests until it is told to stop; keeps what it was promised."""

    def __init__(self, base_url: str, api_key: str, token: str) -> None:
        super().__init__(name="clients", daemon=True)
        self.promises: list[Promise] = []
        self.answers: Counter[str] = Counter()
        self.patches: list[Patch] = []
        self._base_url = base_url
        self._headers = {"x-api-key": api_key, "Authorization": f"Bearer {token}"}
        self._stopped = threading.Event()

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def run(self) -> None:
        """Makes new patches, and hands those on that are confirmed."""
        turn = 0
        while not self._stopped.wait(PAUSE_SECONDS):
            turn += 1
            recent = self.patches[-LIVE_PATCHES:]
            if turn % 2 or not recent:
                self.patches.append(Patch())
                self._register(self.patches[-1])
            else:
                self._go_on_with(recent[turn // 2 % len(recent)])

    def _go_on_with(self, patch: Patch) -> None:
        """The next step of a patch: ask about it, hand it on, or try again what was refused."""
        if patch.pending is not None:
            self._ask(patch, *patch.pending)
        elif patch.head is not None:
            self._transfer(patch, patch.head)
        else:
            self._register(patch)

    def _register(self, patch: Patch) -> None:
        body = {
            "product": {"uid_tag_id": patch.uid, "name": "Rain jacket"},
            "metadata": {"notes": "blue, size M"},
            "auth": {"owner": patch.owners[0].address},
        }
        answer = self._send("POST", "/v1/patches", body)
        self._note("registration", patch, answer)

    def _transfer(self, patch: Patch, head: str) -> None:
        owner, new_owner = patch.owners[-1], Owner()
        body = {
            "newOwnerAddress": new_owner.address,
            "currentOwnerSignature": owner.sign(
                transfer_message(patch.uid, head, new_owner.address)
            ),
            "currentOwnerPubKey": owner.public_key_hex,
        }
        answer = self._send("POST", f"/v1/patches/{head}/transfer-ownership", body)
        if self._note("transfer", patch, answer):
            patch.owners.append(new_owner)

    def _note(self, kind: str, patch: Patch, answer: Mapping[str, Any] | None) -> bool:
        if answer is None or "pendingId" not in answer:
            # Whether it was accepted is not known: whoever has made it asks no more about it.
            return False
        self.promises.append(Promise(kind, patch.uid, answer["pendingId"]))
        patch.pending, patch.head = (kind, answer["pendingId"]), None
        return True

    def _ask(self, patch: Patch, kind: str, pending_id: str) -> None:
        answer = self._send("GET", f"/v1/patches/pending/{kind}/{pending_id}")
        if answer is not None and answer.get("status") == "confirmed":
            patch.pending, patch.head = None, answer["txid"]

    def _send(self, method: str, path: str, body: Any = None) -> Mapping[str, Any] | None:
        try:
            answer = requests.request(
                method, self._base_url + path, json=body, headers=self._headers, timeout=15
            )
            self.answers[f"{method} {answer.status_code}"] += 1
            value: Mapping[str, Any] = answer.json()
            return value
        except (requests.RequestException, ValueError) as error:
            self.answers[f"{method} {type(error).__name__}"] += 1
            return None
