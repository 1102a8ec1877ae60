"""What a run measures about itself, recorded once however often its history is replayed."""

from datetime import datetime

from temporalio import workflow

from lockstitch.starter.contract import OPEN_STATUSES, RunStatus

RUNS_STARTED = "lockstitch_runs_started"
RUNS_FINISHED = "lockstitch_runs_finished"
RUN_DURATION = "lockstitch_run_duration_seconds"
LADDER_RUNGS = "lockstitch_ladder_rungs"
ESCALATIONS_OPENED = "lockstitch_escalations_opened"
ESCALATIONS_CLOSED = "lockstitch_escalations_closed"
RUN_STATUS_DURATION = "lockstitch_run_status_duration_seconds"
RUN_QUEUE_WAIT = "lockstitch_run_queue_wait_seconds"


class RunClock:
    """Measures one run: how long it waited and takes, and how long it stays in each status.

    ``began`` is when it began and ``since`` when it got its ``status``, where an earlier execution of the workflow
    counted that already. The tenant is recorded as it is; the page of metrics shows its class.
    """

    def __init__(
        self,
        backend: str,
        tenant: str,
        status: RunStatus = "queued",
        began: datetime | None = None,
        since: datetime | None = None,
    ) -> None:
        self._meter = workflow.metric_meter().with_additional_attributes({"backend": backend})
        self._of_tenant = self._meter.with_additional_attributes({"tenant": tenant})
        self._since = since or workflow.now()
        self._status: RunStatus = status
        self.began = began or workflow.info().workflow_start_time  # not now: a run may have waited long for a worker
        if began is None:
            self._taken_up()

    @property
    def since(self) -> datetime:
        """When the run got the status that it has."""
        return self._since

    def enter(self, status: RunStatus) -> bool:
        """Take note of the run's status and tell whether it is another; one that ends the run counts it as finished."""
        if status == self._status:
            return False
        now = workflow.now()
        in_status = self._meter.create_histogram_float(
            RUN_STATUS_DURATION, "Time that runs spent in a status before they left it.", "s"
        )
        in_status.record((now - self._since).total_seconds(), {"status": self._status})
        self._status, self._since = status, now
        if status not in OPEN_STATUSES:
            self._finish(status, now)
        return True

    def _taken_up(self) -> None:
        self._of_tenant.create_counter(RUNS_STARTED, "Runs that workers took up.").add(1)
        wait = self._of_tenant.create_histogram_float(
            RUN_QUEUE_WAIT, "Time from the acceptance of runs to the moment a worker took them up.", "s"
        )
        wait.record(max((workflow.now() - self.began).total_seconds(), 0.0))

    def _finish(self, status: RunStatus, now: datetime) -> None:
        finished = {"status": status}
        self._of_tenant.create_counter(RUNS_FINISHED, "Runs that ended.").add(1, finished)
        duration = self._of_tenant.create_histogram_float(
            RUN_DURATION, "Time from the start of runs to their end.", "s"
        )
        duration.record((now - self.began).total_seconds(), finished)


class LadderMeter:
    """Counts the rungs that the calls of a run climb, and what people are asked."""

    def __init__(self, backend: str) -> None:
        self._meter = workflow.metric_meter().with_additional_attributes({"backend": backend})

    def climbed(self, rung: str) -> None:
        """Count a step up the ladder: ``read_again``, ``ask_a_person``, ``retry``, or what the policy says last."""
        counter = self._meter.create_counter(LADDER_RUNGS, "Rungs that tool calls and runs climbed.")
        counter.add(1, {"rung": rung})

    def opened(self, reason: str) -> None:
        """Count a question to a person."""
        self._meter.create_counter(ESCALATIONS_OPENED, "Escalations that were opened.").add(1, {"reason": reason})

    def closed(self, reason: str, by: str) -> None:
        """Count what became of one: an action, or what closed it without a decision."""
        counter = self._meter.create_counter(ESCALATIONS_CLOSED, "Escalations that were closed.")
        counter.add(1, {"reason": reason, "by": by})
