"""Every expression of the dashboards and the rules, read from the files that the chart has, and what it names."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import promql_parser
import yaml

ROOT = Path(__file__).parents[2]
DASHBOARDS = ROOT / "deploy" / "helm" / "dashboards"
RULES = ROOT / "deploy" / "helm" / "rules"

TARGET_LABELS = frozenset({"namespace", "job", "instance", "pod"})
"""What Prometheus adds to everything that it scrapes."""


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression and where it stands."""

    place: str
    text: str

    def __str__(self) -> str:
        return self.place

    @property
    def parsed(self) -> Any:
        """The expression as promql-parser reads it."""
        return promql_parser.parse(self.text)


@cache
def dashboards() -> dict[str, Any]:
    """Return the dashboards by the names of their files."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(DASHBOARDS.glob("*.json"))}


@cache
def rules() -> tuple[dict[str, Any], ...]:
    """Return all rules, recording and alerting."""
    files = (yaml.safe_load(path.read_text()) for path in sorted(RULES.glob("*.yaml")))
    return tuple(rule for file in files for group in file["groups"] for rule in group["rules"])


def alerts() -> dict[str, Any]:
    """Return the alerting rules by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def recorded() -> dict[str, Any]:
    """Return the recording rules by what they record."""
    return {rule["record"]: rule for rule in rules() if "record" in rule}


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the panels of a dashboard, without its headings."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def with_values(text: str, dashboard: dict[str, Any], rate_interval: str = "5m") -> str:
    """Put values in the place of variables, as Grafana does where everything is chosen."""
    text = text.replace("$__rate_interval", rate_interval)
    for variable in dashboard["templating"]["list"]:
        text = text.replace(f"${variable['name']}", variable.get("allValue", ""))
    return text


@cache
def all_expressions() -> tuple[Expression, ...]:
    """Return every expression there is."""
    return (*_of_dashboards(), *_of_rules())


def _of_dashboards() -> Iterator[Expression]:
    for name, dashboard in dashboards().items():
        for annotation in dashboard["annotations"]["list"]:
            yield Expression(f"{name}/annotation {annotation['name']}", with_values(annotation["expr"], dashboard))
        for panel in panels(dashboard):
            for target in panel["targets"]:
                place = f"{name}/{panel['title']}/{target['refId']}"
                yield Expression(place, with_values(target["expr"], dashboard))


def _of_rules() -> Iterator[Expression]:
    for rule in rules():
        yield Expression(f"rule {rule.get('alert') or rule['record']}", rule["expr"])


@dataclass(frozen=True, slots=True)
class Use:
    """A metric that an expression names, and the labels that it asks it for."""

    metric: str
    labels: frozenset[str]


def uses(parsed: Any) -> Iterator[Use]:
    """Yield the metrics of an expression; a label that an aggregation keeps is asked of everything below it."""
    for node in _nodes(parsed):
        if isinstance(node, promql_parser.VectorSelector):
            yield Use(node.name, frozenset(matcher.name for matcher in node.matchers.matchers))
        elif isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            kept = frozenset(node.modifier.labels)
            for below in _labelled(node.expr):
                yield Use(below.name, kept)


def _labelled(node: Any) -> list[Any]:
    """Return the selectors whose labels a value has; what follows `and` or `unless` only chooses among them."""
    if isinstance(node, promql_parser.ParenExpr):
        return _labelled(node.expr)
    if isinstance(node, promql_parser.BinaryExpr):
        chooses = str(node.op) in {"and", "unless"}
        return _labelled(node.lhs) + ([] if chooses else _labelled(node.rhs))
    return [each for each in _nodes(node) if isinstance(each, promql_parser.VectorSelector)]


def _nodes(parsed: Any) -> list[Any]:
    nodes: list[Any] = []
    promql_parser.walk(parsed, nodes.append)
    return nodes


def variable_uses() -> Iterator[tuple[str, Use]]:
    """Yield the metric and the label of which each dashboard variable takes its values."""
    for name, dashboard in dashboards().items():
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                found = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"])
                assert found is not None, variable["definition"]
                yield f"{name}/${variable['name']}", Use(found[1], frozenset({found[2]}))
