"""WhatsOnChain's REST wire, with the oddities that its clients meet."""

from flask import Flask

from devnet.chain.woc import addresses, blocks, broadcast, spends, transactions

PREFIX = "/v1/bsv/test"


def register(app: Flask) -> None:
    """Serve the wire under the prefix that the test network has there."""
    for module in (broadcast, addresses, transactions, spends, blocks):
        app.register_blueprint(module.blueprint, url_prefix=PREFIX)
