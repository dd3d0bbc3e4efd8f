"""The web application: three wires and the weather around two of them."""

from typing import TYPE_CHECKING

from flask import Flask

from devnet.chain import control, woc
from devnet.chain.arc.endpoints import blueprint as arc
from devnet.chain.chainstate import Chain
from devnet.chain.faucet import Faucet
from devnet.chain.faults import Faults
from devnet.chain.weather import Weather

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def create_app(chain: Chain, faucet: Faucet, faults: Faults) -> Flask:
    """Return the application without its weather."""
    app = Flask("devnet.chain", static_folder=None)
    app.extensions.update(chain=chain, faucet=faucet, faults=faults)
    app.register_blueprint(control.blueprint)
    woc.register(app)
    app.register_blueprint(arc)
    return app


def create_wsgi(chain: Chain, faucet: Faucet, faults: Faults) -> "WSGIApplication":
    """Return the application as the network sees it."""
    return Weather(create_app(chain, faucet, faults), faults)
