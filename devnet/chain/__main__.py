"""The chain's process: `python -m devnet.chain`."""

import fcntl
import json
import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from devnet.chain.application import create_wsgi
from devnet.chain.chainstate import Chain
from devnet.chain.faucet import Faucet, load_key
from devnet.chain.faults import Faults
from devnet.chain.payments import locking_script_of
from devnet.chain.server import HttpServer
from devnet.chain.store import Store, StoreError

_LOG = logging.getLogger("devnet.chain")

EPILOG = """\b
What it answers at, with PORT 4300:
  http://127.0.0.1:4300/v1/bsv/test   WhatsOnChain's wire   (WOC_BASE_URL)
  http://127.0.0.1:4300/arc           ARC's wire            (ARC_URL)
  http://127.0.0.1:4300/control       mine, fund, reorganise, misbehave

\b
Get coins and a block:
  curl -X POST 127.0.0.1:4300/control/fund \\
       -d '{"address": "m...", "satoshis": 10000, "outputs": 5}'
  curl -X POST 127.0.0.1:4300/control/mine -d '{"blocks": 1}'

\b
Lose the next three answers to a broadcast:
  curl -X POST 127.0.0.1:4300/control/faults \\
       -d '{"faults": [{"kind": "cut_after", "path": "/tx/raw", "times": 3}]}'

docs/devnet-chain.md has the rest.
"""


@click.command(epilog=EPILOG)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    required=True,
    help="TCP port; 0 lets the system choose one, which the ready line names.",
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Where the chain and the faucet's key live; made when absent.",
)
@click.option("--bind", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--mine-interval",
    type=click.FloatRange(min=0.05),
    default=None,
    metavar="SECONDS",
    help="Mine a block every so many seconds. Without it, only on request.",
)
@click.option(
    "--min-fee-per-kb",
    type=click.IntRange(0, 1_000_000),
    default=50,
    show_default=True,
    help="Least fee that a transaction must pay, in satoshis per 1000 bytes.",
)
def main(
    port: int, data_dir: Path, bind: str, mine_interval: float | None, min_fee_per_kb: int
) -> None:
    """Run a Bitcoin SV regtest chain for a laptop.

    It checks transactions like a node, mines real headers, and speaks as WhatsOnChain and ARC
    do. Its coins are worth nothing. One JSON line on the standard output says when it is ready;
    SIGTERM ends it, and what it has accepted is there at the next start.
    """
    if os.environ.get("APP_ENV") == "production":
        raise click.ClickException(
            "The devnet chain is no chain for production. Unset APP_ENV, or point WOC_BASE_URL "
            "at a real service."
        )
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _only_process(data_dir), _open_store(data_dir) as store:
        key = load_key(data_dir / "faucet.wif")
        chain = Chain(store, locking_script_of(key), min_fee_per_kb)
        faucet = Faucet(chain, key)
        faucet.prepare()
        _serve(bind, port, chain, faucet, mine_interval)


@contextmanager
def _only_process(data_dir: Path) -> Iterator[None]:
    """Hold the data directory, so that two processes never share a chain."""
    with (data_dir / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise click.ClickException(f"Another chain runs on {data_dir}.") from None
        yield


@contextmanager
def _open_store(data_dir: Path) -> Iterator[Store]:
    try:
        store = Store(data_dir / "chain.sqlite3")
    except StoreError as error:
        raise click.ClickException(str(error)) from None
    try:
        yield store
    finally:
        store.close()


def _serve(bind: str, port: int, chain: Chain, faucet: Faucet, mine_interval: float | None) -> None:
    """Answer until SIGTERM or SIGINT."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        server = HttpServer(bind, port, create_wsgi(chain, faucet, Faults()))
    except OSError as error:
        raise click.ClickException(f"Can't listen on {bind}:{port}: {error.strerror}.") from None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
    thread.start()
    ready = {"event": "ready", "port": server.port, "pid": os.getpid()}
    click.echo(json.dumps({**ready, "height": chain.tip.height, "faucet": faucet.address}))
    while not stop.wait(mine_interval):
        chain.mine(1)
    server.shutdown()
    thread.join()
    server.server_close()


if __name__ == "__main__":
    main(prog_name="python -m devnet.chain")
