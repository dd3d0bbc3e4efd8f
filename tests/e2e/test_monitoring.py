"""What monitoring is told: dashboards, alerts, pages and lists agree with the running system."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.commands import db as database_commands
from app.commands import doctor, fees, jobs, keys, users, utxo
from tests.e2e.system import System
from tests.e2e.watching import ROOT, check_up, load_rules, wait_until
from tests.promql import selectors

# The system takes its time to start on a busy machine.
pytestmark = pytest.mark.timeout(300)
DASHBOARDS = sorted((ROOT / "deploy" / "grafana").glob("*.json"))
RUNBOOKS = ROOT / "docs" / "runbooks"
MONITORING = ROOT / "docs" / "operations" / "monitoring.md"
# Written by Prometheus itself, for every target.
OF_PROMETHEUS = {"up": {"job", "instance"}}
SECTIONS = ["## What it means", "## How to see it", "## What to do", "## When to escalate"]
GROUPS: dict[str, click.Group] = {
    "db": database_commands.db,
    "doctor": doctor.doctor,
    "fees": fees.fees,
    "jobs": jobs.jobs,
    "keys": keys.keys,
    "users": users.users,
    "utxo": utxo.utxo,
}


@pytest.fixture(scope="module")
def families(calm: System) -> list[Any]:
    """What `/metrics` shows once everything has happened at least once."""
    address = "monitoring@patchproof.example"
    calm.send("POST", "/v1/auth/request-verification", json={"identifier": address})
    calm.send(
        "POST", "/v1/auth/submit-verification", json={"identifier": address, "code": "100001"}
    )
    check_up(calm)

    def read() -> list[Any]:
        text = calm.send("GET", "/metrics").text
        return list(text_string_to_metric_families(text))

    wait_until(lambda: all(family.samples for family in read()), "a sample of each")
    return read()


@pytest.fixture(scope="module")
def shown(families: list[Any]) -> dict[str, set[str]]:
    """The labels of every name that a query may use."""
    found = dict(OF_PROMETHEUS)
    for family in families:
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def queries_of(dashboard: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def missing(expression: str, shown: dict[str, set[str]]) -> list[str]:
    """Names and labels that a query asks for and nobody shows."""
    wrong = []
    for name, labels in selectors(expression):
        if name not in shown:
            wrong.append(name)
        wrong += [f"{name}{{{label}}}" for label in labels - shown.get(name, set())]
    return wrong


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_f28_every_panel_asks_for_what_is_shown(path: Path, shown: dict[str, set[str]]) -> None:
    dashboard = json.loads(path.read_text())
    asked = list(queries_of(dashboard))
    assert asked
    assert {title: wrong for title, query in asked if (wrong := missing(query, shown))} == {}


def test_f28_every_alert_asks_for_what_is_shown(shown: dict[str, set[str]]) -> None:
    rules = load_rules()
    wrong = {name: missing(rule["expr"], shown) for name, rule in rules.items()}
    assert {name: each for name, each in wrong.items() if each} == {}


def test_f28_every_metric_is_on_a_panel(families: list[Any]) -> None:
    asked = {
        name
        for path in DASHBOARDS
        for _, query in queries_of(json.loads(path.read_text()))
        for name, _ in selectors(query)
    }
    unseen = {
        family.name
        for family in families
        if not asked & {family.name, *(sample.name for sample in family.samples)}
    }
    assert unseen == {"patchproof_process_virtual_memory_bytes"}


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboards_can_be_imported(path: Path) -> None:
    dashboard = json.loads(path.read_text())
    assert dashboard["uid"] == f"patchproof-{path.stem}"
    assert dashboard["schemaVersion"] >= 36
    [variable] = dashboard["templating"]["list"]
    assert (variable["name"], variable["type"]) == ("datasource", "datasource")
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    for panel in dashboard["panels"]:
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert {source["uid"] for source in sources} == {"${datasource}"}, panel["title"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24


def test_labels_have_few_values(families: list[Any]) -> None:
    series = [sample for family in families for sample in family.samples]
    assert len(series) < 3000
    ids = re.compile(r"[0-9a-f]{24,}|@|[13mn][a-km-zA-HJ-NP-Z1-9]{25,}|NFC", re.ASCII)
    named = {value for sample in series for value in sample.labels.values() if ids.search(value)}
    assert named == set()


def test_the_list_of_metrics_is_what_is_shown(families: list[Any]) -> None:
    row = re.compile(r"^\| `(patchproof_\w+)` \| (\w+) \| (.*?) \| (.+) \|$", re.MULTILINE)
    rows = row.findall(MONITORING.read_text())
    listed = {
        name: (kind, set(labels.split(", ")) - {""}, text) for name, kind, labels, text in rows
    }
    seen = {}
    for family in families:
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        seen[name] = (family.type, labels, family.documentation)
    assert listed == seen


def test_each_alert_has_its_page_and_each_page_its_alert() -> None:
    rules = load_rules()
    pages = {rule["annotations"]["runbook"]: name for name, rule in rules.items()}
    there = {f"docs/runbooks/{path.name}" for path in RUNBOOKS.glob("*.md")}
    assert pages.keys() == there - {"docs/runbooks/README.md"}
    index = (RUNBOOKS / "README.md").read_text()
    for page, name in pages.items():
        text = (ROOT / page).read_text()
        assert text.startswith(f"# {name}\n")
        assert [line for line in text.splitlines() if line.startswith("## ")] == SECTIONS
        assert f"[{name}]({Path(page).name})" in index
    for name, rule in rules.items():
        assert rule["labels"]["severity"] in {"page", "ticket"}, name
        assert {"summary", "description"} < set(rule["annotations"]), name


def test_commands_of_the_pages_exist() -> None:
    texts = [path.read_text() for path in (*RUNBOOKS.glob("*.md"), MONITORING)]
    found = {line for text in texts for line in re.findall(r"manage\.py ([a-z][^`\n]*)", text)}
    assert len(found) > 15
    unknown = [line for line in found if not is_command(line.split())]
    assert unknown == []


def is_command(words: list[str]) -> bool:
    """Whether a group, its command and every flag exist."""
    command: click.Command | None = GROUPS.get(words[0].rstrip(".,;:)"))
    rest = words[1:]
    if isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        named = command.commands.get(rest[0].rstrip(".,;:)"))
        # In a sentence a word may follow the group's own name.
        command, rest = (named, rest[1:]) if named or command.name != "doctor" else (command, [])
    if command is None:
        return False
    flags = {flag for param in command.params for flag in param.opts}
    return all(word.rstrip(".,;:)") in flags for word in rest if word.startswith("--"))


def lines_of(system: System, part: str) -> list[dict[str, Any]]:
    text = system.net.log_path(part).read_text()
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_one_request_id_leads_from_the_call_to_the_block(calm: System) -> None:
    asked_as = "trace-monitoring-1"
    [product] = calm.make_products(1)
    body = {
        "product": product.product,
        "metadata": product.metadata,
        "auth": {"owner": calm.make_owner().address},
    }
    answer = calm.send(
        "POST", "/v1/patches", json=body, headers={**calm.api_key, "X-Request-Id": asked_as}
    )
    assert answer.status_code == 202
    assert answer.headers["X-Request-Id"] == asked_as

    def events() -> dict[str, dict[str, Any]]:
        lines = lines_of(calm, "web") + lines_of(calm, "worker")
        mine = [line for line in lines if asked_as in line.get("request_ids", [])]
        return {line["event"]: line for line in mine if line["event"].startswith("chain.")}

    wait_until(lambda: "chain.settled" in events(), "the record settles")
    calm.chain.mine()
    wait_until(lambda: "chain.mined" in events(), "the record is mined")

    steps = events()
    assert {
        "chain.signed",
        "chain.committed",
        "chain.accepted",
        "chain.settled",
        "chain.mined",
    } <= set(steps)
    assert len({line["txid"] for line in steps.values()}) == 1
    common = {
        "timestamp",
        "level",
        "logger",
        "message",
        "service",
        "release",
        "event",
        "txid",
        "request_ids",
    }
    assert all(common <= line.keys() for line in steps.values())

    requests = [line for line in lines_of(calm, "web") if line.get("request_id") == asked_as]
    [told] = [line for line in requests if line["event"] == "http.request"]
    assert (told["method"], told["route"], told["status"]) == ("POST", "/v1/patches", 202)


def test_each_task_is_one_line_with_the_id_of_who_asked(calm: System) -> None:
    tasks = [line for line in lines_of(calm, "worker") if line.get("event") == "task"]
    ids = [line["task_id"] for line in tasks]
    assert len(ids) == len(set(ids)) > 5
    assert all({"task", "outcome", "milliseconds"} <= line.keys() for line in tasks)
    anchoring = [line for line in tasks if line["task"] == "anchor-records"]
    assert any(line["request_id"] for line in anchoring)
