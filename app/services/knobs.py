"""Today's settings of the pool: what the operator has put into `settings`, else the environment.

All in one query, read anew for each pass, so that a change or a deletion counts at once.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app import extensions
from app.config import Settings
from app.domain.clock import utc_now
from app.models.setting import FEE_PER_KB, FEE_POLICY, Setting

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Knobs:
    """Outputs are counted, sizes are satoshis. `fee_source` says where the rate comes from.

    Below `min_pool` useful outputs, those of at least `useful_satoshis`, the pool is filled up to
    `max_pool`.
    """

    satoshis_per_kilobyte: int
    fee_source: str
    min_pool: int
    max_pool: int
    split_size: int
    useful_satoshis: int
    max_split_outputs: int
    split_cooldown_ms: int
    split_lease_ms: int
    dust_threshold: int
    dust_sweep_limit: int
    sweep_max_inputs: int
    min_confirmations: int


@dataclass(frozen=True)
class _Live:
    """A key of `settings`, the setting that it overrides and the values that make sense."""

    field: str
    low: int
    high: int


_MOST = 10**9
LIVE_KEYS: Mapping[str, _Live] = {
    "MIN_UTXO_COUNT": _Live("utxo_min_pool", 1, 100_000),
    "UTXO_MAX_POOL": _Live("max_pool", 1, 100_000),
    "UTXO_SPLIT_SIZE_SATS": _Live("utxo_split_size_sats", 1, _MOST),
    "UTXO_SPLIT_SIZE_SATS_MIN": _Live("utxo_split_size_sats_min", 1, _MOST),
    "MAX_SPLIT_OUTPUTS": _Live("max_split_outputs", 2, 1000),
    "SPLIT_COOLDOWN_MS": _Live("split_cooldown_ms", 0, _MOST),
    "SPLIT_LEASE_MS": _Live("split_lease_ms", 1, _MOST),
    "DUST_THRESHOLD_SATS": _Live("dust_threshold_sats", 1, _MOST),
    "DUST_SWEEP_LIMIT": _Live("dust_sweep_limit", 2, 100_000),
    "SWEEP_MAX_INPUTS": _Live("sweep_max_inputs", 2, 1000),
    "UTXO_MIN_CONFIRMATIONS": _Live("utxo_min_confirmations", 0, 100),
}
# Complaining once is enough: the pool is asked for its settings many times a second.
_complained: set[tuple[str, str]] = set()


def load() -> Knobs:
    """Reads the settings as they are now."""
    settings = extensions.get().settings
    stored = Setting.find_all([*LIVE_KEYS, FEE_PER_KB, FEE_POLICY])
    rate, source = _rate(stored, settings)
    values = {
        live.field: _whole(stored, key, live.low, live.high, getattr(settings, live.field))
        for key, live in LIVE_KEYS.items()
    }
    size, low = values["utxo_split_size_sats"], values["utxo_min_pool"]
    is_high_given = "UTXO_MAX_POOL" in stored or settings.utxo_max_pool is not None
    return Knobs(
        satoshis_per_kilobyte=rate,
        fee_source=source,
        min_pool=low,
        # Never below the low mark: the two may have been changed apart.
        max_pool=max(low, values["max_pool"] if is_high_given else 2 * low),
        split_size=size,
        # What a split makes is useful, or the next one would make it again.
        useful_satoshis=min(values["utxo_split_size_sats_min"], size),
        max_split_outputs=values["max_split_outputs"],
        split_cooldown_ms=values["split_cooldown_ms"],
        split_lease_ms=values["split_lease_ms"],
        dust_threshold=values["dust_threshold_sats"],
        dust_sweep_limit=values["dust_sweep_limit"],
        sweep_max_inputs=values["sweep_max_inputs"],
        min_confirmations=values["utxo_min_confirmations"],
    )


def find_number(key: str, value: Any) -> int | None:
    """Answers the number that a value means for a live setting; None where it makes no sense."""
    live = LIVE_KEYS.get(key)
    most = extensions.get().settings.fee_per_kb_max
    low, high = (1, most) if live is None else (live.low, live.high)
    number = _number(value) if live is not None or key == FEE_PER_KB else None
    return number if number is not None and low <= number <= high else None


def _rate(stored: Mapping[str, Setting], settings: Settings) -> tuple[int, str]:
    """The operator's rate, then the broadcaster's while it is fresh, then the environment's."""
    most = settings.fee_per_kb_max
    given = _whole(stored, FEE_PER_KB, 1, most, None)
    if given is not None:
        return given, "settings"
    policy = stored.get(FEE_POLICY)
    age = timedelta(seconds=settings.fee_policy_max_age_seconds)
    if policy is not None and policy.updated_at > utc_now() - age:
        asked = _whole(stored, FEE_POLICY, 1, _MOST, None)
        if asked is not None:
            return min(asked, most), "policy"
    return settings.fee_per_kb, "environment"


def _whole(
    stored: Mapping[str, Setting], key: str, low: int, high: int, otherwise: int | None
) -> Any:
    """The stored number, or its text, where it makes sense; else `otherwise`."""
    if key not in stored:
        return otherwise
    value = stored[key].value
    number = _number(value)
    if number is not None and low <= number <= high:
        return number
    _complain(key, value, low, high)
    return otherwise


def _number(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return int(value) if float(value) == int(float(value)) else None
    except (ValueError, OverflowError):
        return None


def _complain(key: str, value: Any, low: int, high: int) -> None:
    if (key, repr(value)) not in _complained:
        _complained.add((key, repr(value)))
        logger.warning(
            "the setting %s is no whole number from %d to %d and is ignored",
            key,
            low,
            high,
            extra={"event": "settings.bad", "setting": key, "value": repr(value)[:80]},
        )
