"""The real signer's web side in a thread, with as many keys as there are tests."""

from __future__ import annotations

from threading import Thread

from werkzeug.serving import make_server

from app.bitcoin.addresses import Network
from app.bitcoin.keys import PrivateKey
from signer.keyring import KeyRing, Purpose, SignerKey
from signer.web import create_app

_KEYS = 400


class SignerThread:
    """Signs with keys that are made for the session; `take_key` gives each of them once."""

    api_key = "integration-bearer-0123456789abcdef"

    def __init__(self) -> None:
        self.issuer = PrivateKey.generate()
        self._keys = {f"pool-{number}": PrivateKey.generate() for number in range(_KEYS)}
        ring = KeyRing(
            [
                SignerKey("issuer", frozenset({Purpose.ISSUER}), self.issuer),
                SignerKey("svd", frozenset({Purpose.SVD}), PrivateKey.generate()),
                *(SignerKey(n, frozenset({Purpose.FUNDING}), k) for n, k in self._keys.items()),
            ]
        )
        self._unused = iter(self._keys.items())
        app = create_app(ring, self.api_key, Network.REGTEST)
        self._server = make_server("127.0.0.1", 0, app, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.port}"
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def take_key(self) -> tuple[str, PrivateKey]:
        """A name and a key that no test has used."""
        return next(self._unused)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
