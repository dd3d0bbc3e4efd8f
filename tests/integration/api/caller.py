"""A client that holds owners' keys and checks every answer against the OpenAPI document."""

from __future__ import annotations

import re
from typing import Any

from flask import Flask
from jsonschema import Draft202012Validator
from werkzeug.test import TestResponse

from app import create_app
from app.domain.messages import transfer_message, unlock_message
from app.services import tokens
from tests.integration.services.lab import PATIENCE, Lab, Owner


class Caller:
    """What clients send, with the credentials that the route asks for."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.app: Flask
        self._document: dict[str, Any] = {}

    def start(self, **settings: str) -> None:
        """Makes the application anew; synchronous unless told otherwise."""
        self.lab.close()
        environ = {**self.lab.env, **PATIENCE, "JOBS_ASYNC": "0", **settings}
        self.app = create_app(environ=environ)
        self._document = self.app.test_client().get("/openapi.json").json or {}

    def get(self, path: str, **options: Any) -> TestResponse:
        return self._send("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> TestResponse:
        """Sends an object with the API key."""
        headers = {"x-api-key": self.lab.env["API_KEY"], **options.pop("headers", {})}
        return self._send("POST", path, json=body, headers=headers, **options)

    def register(self, uid: str, owner: Owner, **parts: Any) -> TestResponse:
        """Registers a patch; `product` and `metadata` may be given."""
        product = {"uid_tag_id": uid, **parts.pop("product", {})}
        body = {"product": product, "auth": {"owner": owner.address}, **parts}
        return self.post("/v1/patches", body)

    def registered(self, uid: str, owner: Owner) -> str:
        """Registers a patch for certain; answers its txid."""
        response = self.register(uid, owner)
        assert response.status_code == 201, response.get_data(as_text=True)
        return str(response.json["txid"])

    def transfer(
        self, uid: str, txid: str, owner: Owner, new_owner: Owner, **changes: str
    ) -> TestResponse:
        """Sends a transfer that the owner has signed, with the token that it needs and no key."""
        message = transfer_message(uid, txid, new_owner.address)
        body = {
            "newOwnerAddress": new_owner.address,
            "currentOwnerSignature": owner.sign(message),
            "currentOwnerPubKey": owner.public_key_hex,
            **changes,
        }
        headers = {"Authorization": f"Bearer {tokens.issue('shop')}"}
        path = f"/v1/patches/{txid}/transfer-ownership"
        return self._send("POST", path, json=body, headers=headers)

    def challenge(self, uid: str) -> str:
        """Asks for a nonce."""
        response = self.post(f"/v1/patches/{uid}/unlock-challenge")
        assert response.status_code == 200, response.get_data(as_text=True)
        return str(response.json["nonce"])

    def unlock(
        self, uid: str, txid: str, owner: Owner, nonce: str | None, **parts: str
    ) -> TestResponse:
        """Sends an unlocking that this owner has signed."""
        body = {
            "ownerPubKey": owner.public_key_hex,
            "ownerSignature": owner.sign(unlock_message(uid, txid, nonce)),
            **({} if nonce is None else {"nonce": nonce}),
            **parts,
        }
        return self.post(f"/v1/patches/{uid}/unlock-content", body)

    def send_without_key(self, method: str, path: str, **options: Any) -> TestResponse:
        """Sends a request with no credential but what the options carry."""
        return self._send(method, path, **options)

    def _send(self, method: str, path: str, **options: Any) -> TestResponse:
        response = self.app.test_client().open(path, method=method, **options)
        self._check(method, path, response)
        return response

    def _check(self, method: str, path: str, response: TestResponse) -> None:
        documented = self._operation(method, path)["responses"][str(response.status_code)]
        schema = documented["content"][response.mimetype]["schema"]
        if response.is_json:
            whole = {**schema, "components": self._document["components"]}
            Draft202012Validator(whole).validate(response.json)

    def _operation(self, method: str, path: str) -> dict[str, Any]:
        matches = [
            item[method.lower()]
            for template, item in self._document["paths"].items()
            if method.lower() in item
            and re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template)), path)
        ]
        return dict(matches[0])
