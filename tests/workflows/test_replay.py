"""Recorded histories replay: a change of the workflow that would break runs under way fails here."""

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from lockstitch.starter.payloads import data_converter
from lockstitch.workflows.ingestion import IngestFiles
from lockstitch.workflows.thread_run import ThreadRun

WORKFLOWS = [ThreadRun, IngestFiles]
HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json"))


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_a_recorded_run_replays(path, workflow_sandbox):
    history = WorkflowHistory.from_json("run_recorded", path.read_text())
    replayer = Replayer(workflows=WORKFLOWS, data_converter=data_converter, workflow_runner=workflow_sandbox)

    result = await replayer.replay_workflow(history)

    assert result.replay_failure is None


def test_there_is_a_history_of_each_kind_of_run():
    assert {path.stem for path in HISTORIES} >= {
        "plain", "handled_tool", "answered_from_outside", "mixed_round",
        "cancelled_while_waiting", "expired_while_waiting",
        "ingestion",
    }  # fmt: skip


async def test_a_history_that_no_longer_fits_is_noticed(workflow_sandbox):
    """The replay test can fail: another order of activities is refused."""
    text = next(path for path in HISTORIES if path.stem == "handled_tool").read_text()
    changed = text.replace('"tool.weather"', '"tool.another"')
    replayer = Replayer(workflows=WORKFLOWS, data_converter=data_converter, workflow_runner=workflow_sandbox)

    result = await replayer.replay_workflow(
        WorkflowHistory.from_json("run_recorded", changed), raise_on_replay_failure=False
    )

    assert result.replay_failure is not None
