"""The rules that the chart brings, tried by promtool: each alert fires when it should and is silent when not."""

import re
import subprocess
from collections.abc import Collection
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from lockstitch.starter.escalations import ACTIONS, Action
from lockstitch.tests.dashboards.expressions import RULES, alerts, all_expressions, recorded
from lockstitch.tests.dashboards.rule_cases import ALERTS, HERE, RECORDS, Series
from lockstitch.tests.programs import program

RUNBOOKS = Path(__file__).parents[2] / "docs" / "runbooks.md"
FILES = sorted(map(str, RULES.glob("*.yaml")))
RECORDING = str(RULES / "recording.yaml")
ALERTING = [file for file in FILES if file != RECORDING]


def promtool(*arguments: str) -> str:
    done = subprocess.run([program("promtool"), *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def selector(metric: str, labels: dict[str, str]) -> str:
    return metric + "{" + ", ".join(f'{name}="{value}"' for name, value in labels.items()) + "}"


def trial(
    series: Series, at: str, expression: str, expected: list[dict[str, Any]], name: str = "a trial"
) -> dict[str, Any]:
    return {
        "name": name,  # promtool says which one failed
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": expression, "eval_time": at, "exp_samples": expected}],
    }


def alert_trials(name: str) -> list[dict[str, Any]]:
    """Return the trials in which the alert fires as it should, and those in which it is silent."""
    case = ALERTS[name]
    firing = f'ALERTS{{alertname="{name}", alertstate="firing"}}'
    severity = alerts()[name]["labels"]["severity"]
    labels = {"alertname": name, "alertstate": "firing", "severity": severity, **case.labels}
    fired = [{"labels": selector("ALERTS", labels), "value": 1}]
    fires = {f"{name} fires": case.fires} | {f"{name} fires {how}": each for how, each in case.also_fires.items()}
    silent = {f"{name} is silent": case.silent} | {
        f"{name} is silent {how}": each for how, each in case.also_silent.items()
    }
    return [
        *(trial(series, case.at, firing, fired, said) for said, series in fires.items()),
        *(trial(series, case.at, firing, [], said) for said, series in silent.items()),
    ]


def record_trials(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the trial in which the rule has something to compute, and the one in which it has nothing."""
    case = RECORDS[name]
    computed = [{"labels": selector("", case.labels), "value": case.value}]
    return (
        trial(case.series, case.at, f"round({name}, 0.001)", computed, f"{name} is computed"),
        trial(case.without, case.at, name, [], f"{name} is not there"),
    )


def runbook(name: str) -> str:
    """Return the section of the runbooks about an alert; empty where there is none."""
    sections = re.split(r"^## ", RUNBOOKS.read_text(), flags=re.MULTILINE)[1:]
    return next((text for text in sections if text.startswith(f"{name}\n")), "")


def try_rules(folder: Path, *trials: dict[str, Any], files: Collection[str] = FILES) -> None:
    path = folder / "trials.yaml"
    path.write_text(yaml.safe_dump({"rule_files": sorted(files), "evaluation_interval": "1m", "tests": list(trials)}))
    promtool("test", "rules", str(path))


def test_prometheus_takes_the_rules():
    assert "SUCCESS" in promtool("check", "rules", "--lint-fatal", *FILES)


def test_every_rule_has_series_with_which_it_is_tried():
    assert set(ALERTS) == set(alerts())
    assert set(RECORDS) == set(recorded())
    assert all("- alert: " in Path(file).read_text() for file in ALERTING)


# promtool takes longer to start than to try a rule, so it tries all rules of a file at once.


@pytest.mark.parametrize("file", ALERTING, ids=lambda file: Path(file).stem)
def test_an_alert_fires_when_it_should_and_is_silent_when_not(file, tmp_path):
    names = re.findall(r"- alert: (\w+)$", Path(file).read_text(), re.MULTILINE)

    try_rules(tmp_path, *(each for name in names for each in alert_trials(name)), files={RECORDING, file})


def test_where_there_is_nothing_one_alert_fires(tmp_path):
    labels = {"alertname": "LockstitchAbsent", "alertstate": "firing", "severity": "page"}

    try_rules(tmp_path, trial({}, "30m", "ALERTS", [{"labels": selector("ALERTS", labels), "value": 1}]))


def test_a_recording_rule_computes_what_its_name_says(tmp_path):
    try_rules(tmp_path, *(each for name in RECORDS for each in record_trials(name)), files=[RECORDING])


def test_a_person_reads_what_is_wrong_and_where(tmp_path):
    case = ALERTS["LockstitchToolFailing"]
    texts = alerts()["LockstitchToolFailing"]["annotations"]
    said = {**texts, "summary": "The tool refund in here fails: 66.67% of its calls."}
    alert = {"exp_labels": {"severity": "ticket", **case.labels}, "exp_annotations": said}
    trial_of_texts = trial(case.fires, case.at, "vector(1)", [{"labels": "{}", "value": 1}])
    expected = {"eval_time": case.at, "alertname": "LockstitchToolFailing", "exp_alerts": [alert]}

    try_rules(tmp_path, {**trial_of_texts, "alert_rule_test": [expected]})


def test_a_class_of_tenants_without_failures_has_a_line_at_zero(tmp_path):
    panel = next(each for each in all_expressions() if each.place == "runs/Failures, by tenant class/A")
    finished = "lockstitch_runs_finished_total"
    series = {
        f'{finished}{{{HERE}, tenant_class="gold", status="completed"}}': "0+4x60",
        f'{finished}{{{HERE}, tenant_class="trial", status="completed"}}': "0+3x60",
        f'{finished}{{{HERE}, tenant_class="trial", status="failed"}}': "0+1x60",
    }
    shown = [{"labels": f'{{tenant_class="{name}"}}', "value": share} for name, share in (("gold", 0), ("trial", 0.25))]

    try_rules(tmp_path, trial(series, "60m", panel.text, shown))


def test_who_reads_of_an_escalation_is_told_to_decide_what_it_takes():
    for name, rule in alerts().items():
        for reason in re.findall(r'reason="(\w+)"', rule["expr"]):
            told = re.findall(r"`(\w+)`", rule["annotations"]["description"] + runbook(name))
            decisions = set(told) & set(get_args(Action))
            assert decisions
            assert decisions <= set(ACTIONS[reason]), name


@pytest.mark.parametrize("name", sorted(alerts()))
def test_an_alert_says_how_urgent_it_is_what_is_wrong_and_what_to_do(name):
    rule = alerts()[name]
    texts = rule["annotations"]

    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert set(texts) == {"summary", "description", "runbook_url"}
    assert texts["summary"].endswith(".")
    assert len(texts["summary"]) < 200
    assert texts["description"].endswith(".")
    assert "absent" in rule["expr"] or "$labels.namespace" in texts["summary"]


@pytest.mark.parametrize("name", sorted(alerts()))
def test_an_alert_leads_to_its_heading_in_the_runbooks(name):
    page, _, anchor = (
        alerts()[name]["annotations"]["runbook_url"].removeprefix("https://runbooks.invalid/").partition("#")
    )
    section = runbook(name)

    assert (page, anchor) == (RUNBOOKS.name, name.lower())
    assert section, f"docs/runbooks.md has no heading {name}"
    for part in ("**It means**", "**Users feel**", "**First steps**", "**It ends**"):
        assert part in section, part
    assert re.findall(r"^\d\. ", section, re.MULTILINE) == ["1. ", "2. ", "3. "]


def test_no_runbook_is_left_of_an_alert_that_is_gone():
    headings = re.findall(r"^## (Lockstitch\w+)$", RUNBOOKS.read_text(), re.MULTILINE)

    assert sorted(headings) == sorted(alerts())
