"""What a kilobyte costs today, and asking the network for it now and then."""

from __future__ import annotations

import logging

from app import extensions
from app.models.setting import FEE_PER_KB, FEE_POLICY, Setting
from app.services import knobs

logger = logging.getLogger(__name__)


def satoshis_per_kilobyte() -> int:
    """Answers the fee rate: the operator's setting, the network's policy, the environment."""
    return knobs.load().satoshis_per_kilobyte


def refresh() -> int | None:
    """Stores what the network asks for today; None where it does not say.

    An old answer is kept until it is too old to be used, so that a silent service changes nothing.
    """
    rate = extensions.get().broadcaster.fee_policy()
    if rate is None:
        return None
    Setting.put(FEE_POLICY, rate)
    logger.info("fee policy", extra={"event": "fee.policy", "satoshis_per_kilobyte": rate})
    return rate


def fix(rate: int) -> None:
    """Makes the operator's rate count, whatever the network says."""
    Setting.put(FEE_PER_KB, rate)


def unfix() -> bool:
    """Takes the operator's rate back; tells whether there was one."""
    return Setting.delete_key(FEE_PER_KB)
