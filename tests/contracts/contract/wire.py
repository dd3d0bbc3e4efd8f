"""The service behind a real socket, and what an old client does: it sends bytes and reads JSON."""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import requests
from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from app import create_app, extensions
from app.domain.messages import claim_message, transfer_message, unlock_message
from app.services import tokens
from tests.integration.services.lab import PATIENCE, Lab, Owner

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

BASE_URL = "https://proof.example"
QUIET = {"VERIFY_CODE_SALT_ROUNDS": "4", "AUTH_REQUEST_MAX": "1000000"}
TIMEOUT = 60


class _Handler(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Says nothing: the application logs its requests itself."""


class Wire:
    """A running service and its clients; `start` changes settings."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.app: Flask
        self._session = requests.Session()
        self._server = make_server("127.0.0.1", 0, self._answer, True, request_handler=_Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self.app.wsgi_app(environ, start_response)

    def start(self, **settings: str) -> None:
        """Makes the application anew; synchronous unless told otherwise."""
        self.lab.close()
        own = {"JOBS_ASYNC": "0", "PUBLIC_BASE_URL": BASE_URL}
        self.app = create_app(environ={**self.lab.env, **PATIENCE, **QUIET, **own, **settings})

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._session.close()
        self.lab.close()

    # What clients send

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def key(self) -> dict[str, str]:
        """The header of a caller with the operator's key."""
        return {"x-api-key": self.lab.env["API_KEY"]}

    def send(self, method: str, path: str, **options: Any) -> requests.Response:
        """One request, as it is, without any credential but those given."""
        options = {"timeout": TIMEOUT, "allow_redirects": False, **options}
        return self._session.request(method, self.url + path, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.send("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> requests.Response:
        return self.send("POST", path, json=body, **options)

    def keyed(self, path: str, body: Any = None) -> requests.Response:
        """A post with the API key."""
        return self.post(path, body, headers=self.key)

    def raw(self, head: str, body: bytes = b"") -> int:
        """Sends bytes that no library would; answers the status."""
        with socket.create_connection(("127.0.0.1", self._server.server_port), TIMEOUT) as line:
            line.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
            with line.makefile("rb") as answer:
                return int(answer.readline().split()[1])

    # What they do with it

    def register(self, uid: str, owner: Owner, **parts: Any) -> requests.Response:
        body = {"product": {"uid_tag_id": uid}, "auth": {"owner": owner.address}, **parts}
        return self.keyed("/v1/patches", body)

    def registered(self, owner: Owner, **parts: Any) -> tuple[str, str]:
        """Registers a new patch for certain; answers its uid and txid."""
        uid = new_uid()
        response = self.register(uid, owner, **parts)
        assert response.status_code == 201, response.text
        return uid, response.json()["txid"]

    def transfer(
        self, uid: str, txid: str, owner: Owner, new_owner: Owner, **changes: Any
    ) -> requests.Response:
        """A transfer with the owner's word and a token; no API key."""
        body = {
            "newOwnerAddress": new_owner.address,
            "currentOwnerSignature": owner.sign(transfer_message(uid, txid, new_owner.address)),
            "currentOwnerPubKey": owner.public_key_hex,
            **changes,
        }
        return self.post(f"/v1/patches/{txid}/transfer-ownership", body, headers=self.token())

    def unlock(
        self, uid: str, txid: str, owner: Owner, nonce: str | None, **changes: Any
    ) -> requests.Response:
        body = {
            "ownerPubKey": owner.public_key_hex,
            "ownerSignature": owner.sign(unlock_message(uid, txid, nonce)),
            **({} if nonce is None else {"nonce": nonce}),
            **changes,
        }
        return self.keyed(f"/v1/patches/{uid}/unlock-content", body)

    def nonce(self, uid: str) -> str:
        return str(self.keyed(f"/v1/patches/{uid}/unlock-challenge").json()["nonce"])

    def claim(self, uid: str, customer: Owner, **changes: Any) -> requests.Response:
        """A claim that the customer has signed; `changes` are made after that."""
        return self.post("/v1/pos/claim-intent", {**claim_body(uid, customer), **changes})

    def token(self, user: str = "shop") -> dict[str, str]:
        """The header of somebody who is logged in."""
        return {"Authorization": f"Bearer {tokens.issue(user)}"}

    def forget_limits(self) -> None:
        """Empties Redis, the windows of all limits with it."""
        extensions.get().redis.flushdb()


def claim_body(uid: str, customer: Owner, ts: int | None = None) -> dict[str, Any]:
    """A claim that is good now, or at another time."""
    ts = time.time_ns() // 1_000_000 if ts is None else ts
    nonce = secrets.token_hex(8)
    return {
        "uid": uid,
        "customer": {
            "address": customer.address,
            "userId": "customer-1",
            "pubKey": customer.public_key_hex,
        },
        "challenge": {"ts": ts, "nonce": nonce},
        "signature": customer.sign(claim_message(uid, customer.address, ts, nonce)),
    }


def new_uid() -> str:
    return f"NFC-{secrets.token_hex(4)}"


def new_user() -> str:
    return secrets.token_hex(12)


def code_of(response: requests.Response) -> tuple[int, str]:
    """The status of a failure, and the word that programs go by."""
    return response.status_code, str(response.json()["code"])


def fields_of(response: requests.Response) -> set[str]:
    """The fields that a refusal names."""
    return {detail["field"] for detail in response.json()["error"]["details"]}
