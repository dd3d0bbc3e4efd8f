"""Starts, watches and stops the processes of a devnet."""

from devnet.supervisor.errors import DevnetError, PartFailedError, ProductionRefusedError
from devnet.supervisor.parts import PARTS
from devnet.supervisor.status import PartState, PartStatus
from devnet.supervisor.supervisor import Devnet

__all__ = [
    "PARTS",
    "Devnet",
    "DevnetError",
    "PartFailedError",
    "PartState",
    "PartStatus",
    "ProductionRefusedError",
]
