"""What a kilobyte costs today: the operator's setting, then the environment."""

from __future__ import annotations

import logging

from app import extensions
from app.models.setting import FEE_PER_KB, Setting

logger = logging.getLogger(__name__)


def satoshis_per_kilobyte() -> int:
    """Answers the fee rate; a setting that is no positive integer is ignored and said so."""
    value = Setting.find_value(FEE_PER_KB)
    if value is None:
        return extensions.get().settings.fee_per_kb
    try:
        rate = int(value)
    except (TypeError, ValueError):
        rate = 0
    if rate > 0:
        return rate
    logger.warning("the setting FEE_PER_KB is not a positive integer, the environment's is used")
    return extensions.get().settings.fee_per_kb
