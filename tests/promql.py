"""What Prometheus makes of our rules: the part of PromQL that they use, over recorded scrapes.

The grammar is promql-parser's, the meaning is written here after Prometheus's own evaluator: an
instant is the latest scrape of the last five minutes, a series that is not in it is gone, rate and
increase extrapolate to the ends of their window, comparisons filter, `for` counts evaluations.
tests/unit/test_promql.py holds it against values that a Prometheus has computed.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import promql_parser
from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]
Vector = dict[Labels, float]
Scrape = dict[Labels, float]
NAME = "__name__"
LOOKBACK_SECONDS = 300.0


class Recording:
    """Scrapes of one target, each at a time that the test's own clock gives."""

    def __init__(self, **target: str) -> None:
        self._target = target
        self._scrapes: list[tuple[float, Scrape]] = []

    def add(self, at: float, exposition: str | None) -> None:
        """Keeps one scrape; None where the target did not answer."""
        samples = {} if exposition is None else dict(_read(exposition, self._target))
        samples[_labels(NAME, "up", self._target)] = 0.0 if exposition is None else 1.0
        assert not self._scrapes or at > self._scrapes[-1][0], "time runs forwards"
        self._scrapes.append((at, samples))

    def instant(self, at: float) -> Scrape:
        """The latest scrape that is not too old; what is not in it has ended."""
        for time, samples in reversed(self._scrapes):
            if time <= at:
                return samples if at - time < LOOKBACK_SECONDS else {}
        return {}

    def within(self, start: float, end: float) -> list[tuple[float, Scrape]]:
        return [(time, samples) for time, samples in self._scrapes if start <= time <= end]


def _read(exposition: str, target: Mapping[str, str]) -> Iterator[tuple[Labels, float]]:
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            yield _labels(NAME, sample.name, {**sample.labels, **target}), sample.value


def _labels(name: str, value: str, others: Mapping[str, str]) -> Labels:
    return frozenset({**others, name: value}.items())


def selectors(expression: str) -> list[tuple[str, set[str]]]:
    """Metric names of an expression, each with the labels that it is asked or grouped by."""
    found: list[tuple[str, set[str]]] = []
    _collect(promql_parser.parse(expression), set(), found)
    return found


def _collect(node: Any, grouping: set[str], found: list[tuple[str, set[str]]]) -> None:
    if isinstance(node, promql_parser.VectorSelector):
        matched = {matcher.name for matcher in node.matchers.matchers}
        found.append((str(node.name), matched | grouping))
    if isinstance(node, promql_parser.AggregateExpr):
        grouping = _grouping(node)
    for child in _children(node):
        _collect(child, grouping, found)


def _children(node: Any) -> list[Any]:
    if isinstance(node, promql_parser.Call):
        return list(node.args)
    names = ("lhs", "rhs", "expr", "vector_selector")
    return [getattr(node, name) for name in names if hasattr(node, name)]


def evaluate(expression: str, recording: Recording, at: float) -> Vector:
    """The instant vector of an expression at a time; a scalar is one sample without labels."""
    result = _Evaluator(recording, at).evaluate(promql_parser.parse(expression))
    return result if isinstance(result, dict) else {frozenset(): result}


@dataclass
class Alert:
    """One rule, and since when its expression has held for each set of labels."""

    name: str
    expression: str
    for_seconds: float = 0.0
    since: dict[Labels, float] = field(default_factory=dict)

    def look(self, recording: Recording, at: float) -> list[dict[str, str]]:
        """Evaluates once; answers the labels for which it fires."""
        held = evaluate(self.expression, recording, at)
        self.since = {labels: self.since.get(labels, at) for labels in held}
        return [dict(ls) for ls, since in self.since.items() if at - since >= self.for_seconds]


def parse_seconds(text: str) -> float:
    """Seconds of a duration such as 5m."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    return float(sum(int(n) * units[u] for n, u in re.findall(r"(\d+)([smhd])", text)))


@dataclass(frozen=True)
class _Evaluator:
    recording: Recording
    at: float

    def evaluate(self, node: Any) -> Vector | float:
        name = type(node).__name__
        return _KINDS[name](self, node)

    def number(self, node: Any) -> float:
        return float(node.val)

    def parentheses(self, node: Any) -> Vector | float:
        return self.evaluate(node.expr)

    def select(self, node: Any) -> Vector:
        return {ls: v for ls, v in self.recording.instant(self.at).items() if _matches(node, ls)}

    def aggregate(self, node: Any) -> Vector:
        by = _grouping(node)
        groups: dict[Labels, list[float]] = defaultdict(list)
        for labels, value in self._vector(node.expr).items():
            groups[frozenset(pair for pair in labels if pair[0] in by)].append(value)
        fold = _FOLDS[str(node.op)]
        return {labels: fold(values) for labels, values in groups.items()}

    def call(self, node: Any) -> Vector | float:
        return _FUNCTIONS[node.func.name](self, *node.args)

    def time(self) -> float:
        return self.at

    def absent(self, node: Any) -> Vector:
        if self._vector(node):
            return {}
        equal = [m for m in node.matchers.matchers if str(m.op).endswith("Equal")]
        return {frozenset((m.name, m.value) for m in equal if m.name != NAME): 1.0}

    def rate(self, node: Any) -> Vector:
        seconds = node.range.total_seconds()
        return {labels: value / seconds for labels, value in self.increase(node).items()}

    def increase(self, node: Any) -> Vector:
        seconds = node.range.total_seconds()
        return {
            _without_name(labels): _extrapolate(points, self.at - seconds, self.at)
            for labels, points in self._ranges(node).items()
            if len(points) > 1
        }

    def binary(self, node: Any) -> Vector | float:
        left, right = self.evaluate(node.lhs), self.evaluate(node.rhs)
        op = str(node.op)
        if op == "or":
            assert isinstance(left, dict)
            assert isinstance(right, dict)
            known = {_without_name(labels) for labels in left}
            return left | {ls: v for ls, v in right.items() if _without_name(ls) not in known}
        if not isinstance(left, dict) and not isinstance(right, dict):
            return _ARITHMETIC[op](left, right)
        return dict(_pairwise(op, left, right))

    def _vector(self, node: Any) -> Vector:
        result = self.evaluate(node)
        assert isinstance(result, dict)
        return result

    def _ranges(self, node: Any) -> dict[Labels, list[tuple[float, float]]]:
        series: dict[Labels, list[tuple[float, float]]] = defaultdict(list)
        start = self.at - node.range.total_seconds()
        for time, samples in self.recording.within(start, self.at):
            for labels, value in samples.items():
                if _matches(node.vector_selector, labels):
                    series[labels].append((time, value))
        return series


def _matches(selector: Any, labels: Labels) -> bool:
    values = dict(labels)
    if selector.name and values[NAME] != selector.name:
        return False
    return all(
        _MATCHES[str(each.op)](values.get(each.name, ""), each.value)
        for each in selector.matchers.matchers
    )


def _grouping(node: Any) -> set[str]:
    """The labels of `by (..)`; none where everything is folded into one."""
    if node.modifier is None:
        return set()
    text = str(node.modifier)
    assert text.startswith("by"), f"only `by` is known, not {text}"
    return set(re.findall(r"\w+", text)[1:])


def _without_name(labels: Labels) -> Labels:
    return frozenset(pair for pair in labels if pair[0] != NAME)


def _pairwise(
    op: str, left: Vector | float, right: Vector | float
) -> Iterator[tuple[Labels, float]]:
    """One to one on equal labels; a comparison keeps the left one's value, or drops it."""
    others = (
        {_without_name(labels): value for labels, value in right.items()}
        if isinstance(right, dict)
        else {}
    )
    mine: Vector = left if isinstance(left, dict) else dict.fromkeys(others, left)
    for labels, value in mine.items():
        other = others.get(_without_name(labels)) if isinstance(right, dict) else right
        if other is None:
            continue
        if op in _COMPARISONS:
            if _COMPARISONS[op](value, other):
                yield labels, value if isinstance(left, dict) else other
        else:
            yield _without_name(labels), _ARITHMETIC[op](value, other)


def _extrapolate(points: Sequence[tuple[float, float]], start: float, end: float) -> float:
    """The increase within the window, as Prometheus's extrapolatedRate finds it for counters."""
    (first_at, first), (last_at, last) = points[0], points[-1]
    resets = sum(before for (_, before), (_, after) in pairwise(points) if after < before)
    grown = last - first + resets
    sampled = last_at - first_at
    average = sampled / (len(points) - 1)
    to_start, to_end = first_at - start, end - last_at
    if grown > 0 and first >= 0:
        # No counter has been below zero.
        to_start = min(to_start, sampled * first / grown)
    near = average * 1.1
    covered = sampled
    covered += to_start if to_start < near else average / 2
    covered += to_end if to_end < near else average / 2
    return grown * covered / sampled


def _divide(left: float, right: float) -> float:
    return left / right if right else float("nan")


_FOLDS: Mapping[str, Callable[[list[float]], float]] = {"sum": sum, "max": max, "min": min}
_ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": _divide,
}
_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    ">": lambda left, right: left > right,
    "<": lambda left, right: left < right,
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    ">=": lambda left, right: left >= right,
    "<=": lambda left, right: left <= right,
}
_MATCHES: Mapping[str, Callable[[str, str], bool]] = {
    "MatchOp.Equal": lambda value, wanted: value == wanted,
    "MatchOp.NotEqual": lambda value, wanted: value != wanted,
    "MatchOp.Re": lambda value, wanted: re.fullmatch(wanted, value) is not None,
    "MatchOp.NotRe": lambda value, wanted: re.fullmatch(wanted, value) is None,
}
_KINDS: Mapping[str, Callable[[_Evaluator, Any], Vector | float]] = {
    "NumberLiteral": _Evaluator.number,
    "ParenExpr": _Evaluator.parentheses,
    "VectorSelector": _Evaluator.select,
    "AggregateExpr": _Evaluator.aggregate,
    "Call": _Evaluator.call,
    "BinaryExpr": _Evaluator.binary,
}
_FUNCTIONS: Mapping[str, Callable[..., Vector | float]] = {
    "time": _Evaluator.time,
    "absent": _Evaluator.absent,
    "rate": _Evaluator.rate,
    "increase": _Evaluator.increase,
}
