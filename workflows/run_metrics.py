"""What a run measures about itself, recorded once however often its history is replayed."""

from datetime import datetime

from temporalio import workflow

from lockstitch.starter.contract import OPEN_STATUSES, RunStatus

RUNS_STARTED = "lockstitch_runs_started"
RUNS_FINISHED = "lockstitch_runs_finished"
RUN_DURATION = "lockstitch_run_duration_seconds"
RUN_STATUS_DURATION = "lockstitch_run_status_duration_seconds"


class RunClock:
    """Measures one run: how long it takes, and how long it stays in each status."""

    def __init__(self, backend: str) -> None:
        self._meter = workflow.metric_meter().with_additional_attributes({"backend": backend})
        self._began = self._since = workflow.now()
        self._status: RunStatus = "queued"
        self._meter.create_counter(RUNS_STARTED, "Runs that workers took up.").add(1)

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

    def _finish(self, status: RunStatus, now: datetime) -> None:
        finished = {"status": status}
        self._meter.create_counter(RUNS_FINISHED, "Runs that ended.").add(1, finished)
        duration = self._meter.create_histogram_float(RUN_DURATION, "Time from the start of runs to their end.", "s")
        duration.record((now - self._began).total_seconds(), finished)
