"""What a kilobyte costs today, and asking the network for it now and then."""

from __future__ import annotations

import logging

from app import extensions
from app.clients.fee_page import read_fee_page
from app.errors import InvalidInputError
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
    """Makes the operator's rate count, whatever the network says.

    Raises:
        InvalidInputError: it is not between 1 and FEE_PER_KB_MAX, so it would be ignored.
    """
    most = extensions.get().settings.fee_per_kb_max
    if not 1 <= rate <= most:
        raise InvalidInputError.for_field("fee", f"{rate} is not from 1 to FEE_PER_KB_MAX={most}")
    Setting.put(FEE_PER_KB, rate)
    logger.info("fee fixed", extra={"event": "fee.fixed", "satoshis_per_kilobyte": rate})


def fix_from_page(url: str) -> int:
    """Takes the operator's rate from a web page; answers it.

    Raises:
        ServiceUnavailableError: the page does not answer with a fee.
        InvalidInputError: see `fix`.
    """
    rate = read_fee_page(url)
    fix(rate)
    return rate


def unfix() -> bool:
    """Takes the operator's rate back; tells whether there was one."""
    return Setting.delete_key(FEE_PER_KB)
