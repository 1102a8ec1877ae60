"""The documentation names what there is: every setting, metric and command, and no link leads nowhere."""

import re
from dataclasses import fields
from datetime import timedelta
from pathlib import Path

import pytest
from typer.main import get_command

from lockstitch import telemetry
from lockstitch.cli import app
from lockstitch.config import Config
from lockstitch.settings_page import settings_page
from lockstitch.starter.contract import RunPolicy
from lockstitch.tool_policy import ToolPolicy
from lockstitch.workflows import run_metrics

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def test_the_page_about_settings_is_what_the_settings_say():
    """`make settings` writes it."""
    assert (ROOT / "docs/settings.md").read_text() == settings_page()


def test_no_setting_is_documented_that_does_not_exist():
    known = {setting.metadata["variable"] for setting in fields(Config)}
    named = set(re.findall(r"\b(?:LOCKSTITCH|OPENAI)_[A-Z_]+\b", "".join(page.read_text() for page in PAGES)))

    assert named - known == {"LOCKSTITCH_"} & named


def test_every_metric_of_ours_is_documented():
    text = (ROOT / "docs/operations.md").read_text()
    ours = {metric.name for metric in telemetry.registry.collect() if metric.name.startswith("lockstitch_")}
    ours |= {name for name in vars(run_metrics).values() if isinstance(name, str) and name.startswith("lockstitch_")}

    documented = {name.removesuffix("_total") for name in re.findall(r"^\| `(lockstitch_\w+)`", text, re.MULTILINE)}
    assert documented == ours


def in_words(default: object) -> str:
    if not isinstance(default, timedelta):
        return str(default)
    seconds = default.total_seconds()
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"


@pytest.mark.parametrize("policy", [RunPolicy, ToolPolicy])
def test_every_default_of_a_policy_is_documented_with_a_reason(policy):
    text = (ROOT / "docs/escalations.md").read_text()

    for name, field in policy.model_fields.items():
        assert re.search(rf"^\| `{name}` \| `{in_words(field.default)}` \| \w.+\. \|$", text, re.MULTILINE), name


def test_every_command_is_in_the_readme():
    text = (ROOT / "README.md").read_text()

    for command in get_command(app).commands:
        assert re.search(rf"lockstitch {command}\b|make {command}\b", text), command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page):
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target
