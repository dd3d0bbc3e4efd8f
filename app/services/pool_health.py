"""The pool as an operator looks at it: ours beside the chain's, and what it is run with."""

from __future__ import annotations

from dataclasses import dataclass

from app import extensions
from app.clients.outcomes import ClientError
from app.services import fuel_gauge, knobs
from app.services.fuel_gauge import FuelGauge
from app.services.knobs import Knobs


@dataclass(frozen=True)
class ChainView:
    """What the chain lists as unspent at the funding address, without what a mempool spends."""

    outputs: int
    satoshis: int
    confirmed_outputs: int
    confirmed_satoshis: int
    tip_height: int


@dataclass(frozen=True)
class PoolHealth:
    """`chain` is None where the chain service did not answer; `chain_error` says why."""

    gauge: FuelGauge
    knobs: Knobs
    funding_address: str
    change_address: str
    key_identifier: str
    network: str
    chain: ChainView | None
    chain_error: str | None
    warnings: list[str]


def read() -> PoolHealth:
    """Looks at the pool and asks the chain about it; a chain service that is away is no error."""
    settings = extensions.get().settings
    gauge = fuel_gauge.read()
    chain, problem = _find_chain_view(settings.utxo_funding_address)
    return PoolHealth(
        gauge=gauge,
        knobs=knobs.load(),
        funding_address=settings.utxo_funding_address,
        change_address=settings.change_address,
        key_identifier=settings.utxo_funding_key_identifier,
        network=settings.woc_network.value,
        chain=chain,
        chain_error=problem,
        warnings=fuel_gauge.list_warnings(gauge),
    )


def _find_chain_view(address: str) -> tuple[ChainView | None, str | None]:
    client = extensions.get().chain
    try:
        tip_height = client.get_chain_info().tip_height
        listed = client.list_unspent(address)
    except ClientError as error:
        return None, str(error)
    unspent = [output for output in listed if not output.is_spent_in_mempool]
    confirmed = [output for output in unspent if output.height is not None]
    view = ChainView(
        outputs=len(unspent),
        satoshis=sum(output.satoshis for output in unspent),
        confirmed_outputs=len(confirmed),
        confirmed_satoshis=sum(output.satoshis for output in confirmed),
        tip_height=tip_height,
    )
    return view, None
