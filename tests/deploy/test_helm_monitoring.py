"""What the operators of Prometheus and Grafana get: targets, rules and dashboards."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

from lockstitch.tests.deploy.rendering import CHART, Object, Release, release_of, render
from lockstitch.tests.programs import program

RULES = sorted((CHART / "rules").glob("*.yaml"))
DASHBOARDS = sorted((CHART / "dashboards").glob("*.json"))


@pytest.fixture
def everything() -> Release:
    return release_of("everything-on")


def rules_of(release: Release) -> list[Object]:
    groups = [group for each in release.of_kind("PrometheusRule").values() for group in each["spec"]["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def alerting(**alerts: Any) -> dict[str, Object]:
    """The alerts of a release by their names."""
    release = render({"alerts": {"enabled": True, **alerts}})
    return {rule["alert"]: rule for rule in rules_of(release) if "alert" in rule}


def test_without_being_asked_for_nothing_is_handed_to_an_operator() -> None:
    release = render({})

    assert not [each for each in release.objects if "coreos" in each["apiVersion"] or "keda" in each["apiVersion"]]
    assert not [name for name in release.of_kind("ConfigMap") if "dashboard" in name]


def test_every_rule_of_the_chart_reaches_prometheus(everything: Release) -> None:
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    written = {(rule.get("alert", rule.get("record")), rule["expr"]) for group in groups for rule in group["rules"]}

    assert {(rule.get("alert", rule.get("record")), rule["expr"]) for rule in rules_of(everything)} == written
    assert len(everything.of_kind("PrometheusRule")) == len(RULES) > 0


def test_prometheus_accepts_the_rules_as_the_chart_hands_them_over(everything: Release, tmp_path: Path) -> None:
    for name, each in everything.of_kind("PrometheusRule").items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({"groups": each["spec"]["groups"]}))

    checked = subprocess.run(
        [program("promtool"), "check", "rules", *tmp_path.glob("*.yaml")], capture_output=True, text=True, timeout=60
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_alerts_carry_the_labels_of_the_values_and_lead_to_the_runbooks(everything: Release) -> None:
    alerts = [rule for rule in rules_of(everything) if "alert" in rule]

    for rule in alerts:
        assert rule["labels"]["team"] == "assistants"
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["runbook_url"].startswith("https://docs.example.com/lockstitch/runbooks.md#")
    for each in everything.of_kind("PrometheusRule").values():
        assert each["metadata"]["labels"]["release"] == "prometheus"


def test_without_a_place_for_runbooks_no_link_leads_nowhere() -> None:
    assert not [name for name, rule in alerting().items() if "runbook_url" in rule["annotations"]]


def test_an_alert_that_is_switched_off_is_left_out_and_the_others_stay() -> None:
    everyone = alerting()
    left_out = sorted(everyone)[0]

    assert alerting(disabled=[left_out]).keys() == everyone.keys() - {left_out}


def test_a_group_without_rules_is_left_out(tmp_path: Path) -> None:
    chart = shutil.copytree(CHART, tmp_path / "chart")
    shutil.rmtree(chart / "rules")
    (chart / "rules").mkdir()
    rule = {"alert": "Alone", "expr": "up == 0", "annotations": {"runbook_url": "https://runbooks.invalid/a.md"}}
    (chart / "rules" / "one.yaml").write_text(yaml.safe_dump({"groups": [{"name": "one", "rules": [rule]}]}))
    values = {"alerts": {"enabled": True, "disabled": ["Alone"]}}

    rendered = helm_python.Chart.load(chart).render(values, name="demo", namespace="assistants")
    [monitoring] = [text for path, text in rendered.items() if path.endswith("monitoring.yaml")]
    assert not [each for each in yaml.safe_load_all(monitoring) if each]


def test_every_dashboard_reaches_grafana_as_it_was_written(everything: Release) -> None:
    maps = {name: each for name, each in everything.of_kind("ConfigMap").items() if "-dashboard-" in name}

    assert len(maps) == len(DASHBOARDS) > 0
    for path in DASHBOARDS:
        each = maps[f"demo-lockstitch-dashboard-{path.stem}"]
        assert json.loads(each["data"][path.name]) == json.loads(path.read_text())
        assert each["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert each["metadata"]["annotations"] == {"grafana_folder": "Lockstitch"}
        assert len(each["data"][path.name]) < 1_000_000  # what a ConfigMap holds


def test_every_pod_is_scraped_once_on_the_port_that_it_has(everything: Release) -> None:
    [monitor] = everything.of_kind("ServiceMonitor").values()
    selector = monitor["spec"]["selector"]["matchLabels"].items()
    [service] = [
        each for each in everything.of_kind("Service").values() if selector <= each["metadata"]["labels"].items()
    ]
    ports = {each["name"]: each["targetPort"] for each in service["spec"]["ports"]}
    scraped = [ports[endpoint["port"]] for endpoint in monitor["spec"]["endpoints"]]

    for container in everything.containers.values():
        assert [port["name"] for port in container["ports"] if port["name"] in scraped] == [
            container["ports"][0]["name"]
        ]
    assert {endpoint["interval"] for endpoint in monitor["spec"]["endpoints"]} == {"15s"}
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
