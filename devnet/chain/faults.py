"""Ways to misbehave on request, so that a client meets a bad network before its users do."""

import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

BROADCAST_FAULTS = ("false_missing_inputs", "accept_then_missing_inputs")
ANSWER_FAULTS = ("hide_outputs", "bad_merkle_path")
CONNECTION_FAULTS = ("delay", "status", "cut_before", "cut_after", "garbage")
KINDS = (*CONNECTION_FAULTS, *BROADCAST_FAULTS, *ANSWER_FAULTS)
MAX_DELAY_SECONDS = 600


class InvalidFaultError(ValueError):
    """A fault is not described as it must be; the text says how."""


class ConnectionCutError(Exception):
    """The connection is to be closed without an answer."""


@dataclass
class Fault:
    """One way to misbehave; `times` is how often it is still to happen, None without end."""

    kind: str
    times: int | None = None
    probability: float = 1.0
    path: str = ""
    method: str = ""
    seconds: float = 0.0
    status: int = 503
    retry_after: int | None = None
    outpoints: tuple[str, ...] = ()
    hits: int = field(default=0, compare=False)

    @classmethod
    def from_json(cls, value: object) -> "Fault":
        """Read one object of `POST /control/faults`."""
        if not isinstance(value, dict) or value.get("kind") not in KINDS:
            raise InvalidFaultError(f"A fault is an object with a kind of {', '.join(KINDS)}.")
        unknown = sorted(set(value) - set(_READERS))
        if unknown:
            raise InvalidFaultError(f"A fault has no member {', '.join(map(str, unknown))}.")
        read = {name: _READERS[name](name, value[name]) for name in value}
        return cls(**read)

    def to_json(self) -> dict[str, Any]:
        """Return what is left of the fault and how often it has happened."""
        shown: dict[str, Any] = {
            "kind": self.kind,
            "times": self.times,
            "probability": self.probability,
            "path": self.path,
            "method": self.method,
            "hits": self.hits,
        }
        if self.kind == "delay":
            shown["seconds"] = self.seconds
        if self.kind == "status":
            shown |= {"status": self.status, "retry_after": self.retry_after}
        if self.kind == "hide_outputs":
            shown["outpoints"] = list(self.outpoints)
        return shown

    def matches(self, method: str, path: str) -> bool:
        """Tell whether a request is one of those that the fault is for."""
        return self.path in path and self.method in ("", method)


class Faults:
    """The faults in force; kept in memory, gone with the process."""

    def __init__(self, rng: random.Random | None = None) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._random = rng or random.Random()  # noqa: S311 - chance, not secrecy

    def add(self, faults: list[Fault]) -> None:
        """Put faults in force, behind those that are."""
        with self._lock:
            self._faults.extend(faults)

    def clear(self) -> None:
        """Behave from now on."""
        with self._lock:
            self._faults.clear()

    def to_json(self) -> list[dict[str, Any]]:
        """Return the faults still in force."""
        with self._lock:
            return [fault.to_json() for fault in self._faults]

    def take(self, kinds: tuple[str, ...], method: str, path: str) -> Fault | None:
        """Return the first fault of these kinds that strikes this request, and count it."""
        with self._lock:
            for fault in self._faults:
                if fault.kind in kinds and fault.matches(method, path) and self._strikes(fault):
                    return fault
        return None

    def _strikes(self, fault: Fault) -> bool:
        if self._random.random() >= fault.probability:
            return False
        fault.hits += 1
        if fault.times is not None:
            fault.times -= 1
            if fault.times == 0:
                self._faults.remove(fault)
        return True


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidFaultError(f"{name} is a string.")
    return value


def _times(name: str, value: object) -> int | None:
    return None if value is None else _whole(name, value, 1, 1_000_000)


def _whole(name: str, value: object, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InvalidFaultError(f"{name} is a whole number from {low} to {high}.")
    return value


def _number(name: str, value: object, high: float) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= high:
        raise InvalidFaultError(f"{name} is a number from 0 to {high}.")
    return float(value)


def _outpoints(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise InvalidFaultError(f"{name} is a list of txid:index.")
    return tuple(_text(f"{name}[]", each) for each in value)


_READERS: Mapping[str, Any] = {
    "kind": _text,
    "path": _text,
    "method": lambda name, value: _text(name, value).upper(),
    "times": _times,
    "probability": lambda name, value: _number(name, value, 1),
    "seconds": lambda name, value: _number(name, value, MAX_DELAY_SECONDS),
    "status": lambda name, value: _whole(name, value, 400, 599),
    "retry_after": lambda name, value: None if value is None else _whole(name, value, 0, 86_400),
    "outpoints": _outpoints,
}
