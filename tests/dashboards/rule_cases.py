"""What each rule is tried with: series with which an alert fires, and series with which it is silent.

Series are written as promtool has them, one value a minute: ``0+3x60`` is 0, 3, 6, ... and ``5x60`` is always 5.
"""

from dataclasses import dataclass, field

Series = dict[str, str]
HERE = 'namespace="here"'


@dataclass(frozen=True, slots=True)
class AlertCase:
    """``fires`` ends in one alert with ``labels``; ``silent`` is as near to that as may be, and ends in none.

    So do ``also_fires`` and ``also_silent``, by what is special about them.
    """

    fires: Series
    silent: Series
    labels: dict[str, str] = field(default_factory=lambda: {"namespace": "here"})
    at: str = "60m"
    also_fires: dict[str, Series] = field(default_factory=dict)
    also_silent: dict[str, Series] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecordCase:
    """``series`` give ``value``; ``without`` gives none."""

    series: Series
    value: float
    without: Series
    labels: dict[str, str] = field(default_factory=lambda: {"namespace": "here"})
    at: str = "60m"


def _gauge(metric: str, bad: str, good: str, labels: str = "") -> AlertCase:
    name = f"{metric}{{{HERE}{labels}}}"
    return AlertCase({name: bad}, {name: good})


def _histogram(metric: str, bound: str, fast: str, slow: str) -> Series:
    """Return a histogram with two buckets: ``fast`` observations within a second, ``slow`` ones more up to a bound."""
    each, more = int(fast), int(slow)
    return {
        f'{metric}_bucket{{{HERE}, le="1"}}': f"0+{each}x60",
        f'{metric}_bucket{{{HERE}, le="{bound}"}}': f"0+{each + more}x60",
        f'{metric}_bucket{{{HERE}, le="+Inf"}}': f"0+{each + more}x60",
    }


def _counters(metric: str, label: str, extra: str = "", **each_minute: int) -> Series:
    """Return counters of one metric that grow by so many each minute, by the value of ``label``."""
    return {
        f'{metric}{{{HERE}, {label}="{value.removeprefix("_")}"{extra}}}': f"0+{number}x60"
        for value, number in each_minute.items()
    }


_TOOL = ', tool="refund"'
_LOCAL = ', backend="local"'
_RUNS_QUEUE = ', task_queue="runs", kind="workflow"'
_FILES_QUEUE = ', task_queue="files", kind="activity"'
_CODE_QUEUE = ', task_queue="code", kind="activity"'
_BUDGET = {f"lockstitch_budget_dollars_per_day{{{HERE}}}": "24x60"}


def _process(counter: str, values: str, began: str = "0x210") -> Series:
    """Return a counter of a process, and when that began: at a second of the trial."""
    return {counter: values, f"lockstitch_process_start_time_seconds{{{HERE}}}": began}


def _unseen_increases(counter: str, until_counted: str) -> dict[str, Series]:
    """Return the ways in which a counter comes to 1 five minutes before 210m, and no scrape sees it increase.

    ``until_counted`` is what is scraped after a restart for 143 minutes.
    """
    return {
        "in a process that has just begun": _process(counter, "_x205 1x5", "_x205 12280x5"),
        "at once after a restart in place": _process(counter, "1x200 stale _x3 1x5", "0x200 stale _x3 12280x5"),
        "long after a restart in place": _process(counter, f"1x60 stale {until_counted} 1x5", "0x60 stale 3660x148"),
    }


def _unscraped(counter: str) -> dict[str, Series]:
    """Return what remains of an old count when a process was out of Prometheus' sight from 121m to 201m."""
    return {"after a gap in the scrapes": _process(counter, "1x120 stale _x80 1x8", "0x120 stale _x80 0x8")}


_LOST = f'lockstitch_notifications_total{{{HERE}, event="escalation.opened", outcome="gave_up"}}'
_GIVEN_UP = f'lockstitch_files_ingested_total{{{HERE}, outcome="gave_up"}}'
_KEY_REFUSED = f'lockstitch_upstream_requests_total{{{HERE}, backend="local", code="401"}}'
_UNPRICED = f'lockstitch_unpriced_tokens_total{{{HERE}, model="new"}}'
_FROM_ZERO, _NOT_THERE = "0x142", "_x143"


def _build(process: str, values: str) -> Series:
    return {f'lockstitch_build_info{{{HERE}, instance="{process}-1", process="{process}", version="1"}}': values}


ALERTS: dict[str, AlertCase] = {
    "LockstitchRunOverdue": AlertCase(
        # Two processes say the same: it is one run, and one alert.
        {f'lockstitch_overdue_runs{{{HERE}, instance="{name}"}}': "0x55 1x5" for name in ("a", "b")},
        {f'lockstitch_overdue_runs{{{HERE}, instance="a"}}': "0x60"},
    ),
    "LockstitchRequiresActionOld": AlertCase(
        {f'lockstitch_oldest_run_age_seconds{{{HERE}, status="requires_action"}}': "0+8x60"},
        {
            f'lockstitch_oldest_run_age_seconds{{{HERE}, status="requires_action"}}': "0+5x60",
            f'lockstitch_oldest_run_age_seconds{{{HERE}, status="in_progress"}}': "0+60x60",
        },
    ),
    "LockstitchRunsQueuedTooLong": AlertCase(
        {f'lockstitch_oldest_run_age_seconds{{{HERE}, status="queued"}}': "0x55 61 121 181 241 301"},
        {f'lockstitch_oldest_run_age_seconds{{{HERE}, status="queued"}}': "0x55 61 1 1 61 1"},
    ),
    "LockstitchQueueWait": AlertCase(
        _histogram("lockstitch_run_queue_wait_seconds", "60", "5", "5"),
        _histogram("lockstitch_run_queue_wait_seconds", "60", "100", "1"),
    ),
    "LockstitchRunsFailing": AlertCase(
        _counters("lockstitch_runs_finished_total", "status", completed=8, failed=1, expired=1),
        _counters("lockstitch_runs_finished_total", "status", completed=19, failed=1, cancelled=10),
    ),
    "LockstitchEscalationDueSoon": _gauge("lockstitch_escalations_due_soon", "0x57 1x3", "0x60"),
    "LockstitchEscalationOpenTooLong": _gauge("lockstitch_oldest_escalation_age_seconds", "0+4x60", "0+2x60"),
    "LockstitchNotificationsUndelivered": _gauge("lockstitch_undelivered_notifications", "0x50 2x10", "0x50 2 2 0x8"),
    "LockstitchNotificationsFailing": AlertCase(
        _counters("lockstitch_notifications_total", "outcome", delivered=1, failed=3),
        _counters("lockstitch_notifications_total", "outcome", delivered=3, failed=1, not_configured=5),
    ),
    "LockstitchNotificationLost": AlertCase(
        _process(_LOST, "0x204 1x5"),
        {
            **_process(_LOST, "1x210"),  # it was told before
            f'lockstitch_notifications_total{{{HERE}, outcome="failed"}}': "0x204 5x5",
        },
        {"namespace": "here", "outcome": "gave_up"},
        "210m",
        _unseen_increases(_LOST, _FROM_ZERO),
        _unscraped(_LOST),
    ),
    "LockstitchNobodyIsTold": AlertCase(
        {
            f"lockstitch_oldest_escalation_age_seconds{{{HERE}}}": "0x50 30+1x10",
            f'lockstitch_notifications_total{{{HERE}, outcome="not_configured"}}': "_x50 1x10",
        },
        {
            f"lockstitch_oldest_escalation_age_seconds{{{HERE}}}": "0x50 30+1x10",
            f'lockstitch_notifications_total{{{HERE}, outcome="delivered"}}': "_x50 1x10",
        },
    ),
    "LockstitchToolFailing": AlertCase(
        _counters("lockstitch_tool_calls_total", "outcome", _TOOL, succeeded=1, failed=2, retried=4),
        # Attempts that are repeated are no failures, and calls of another tool no failures of this one.
        _counters("lockstitch_tool_calls_total", "outcome", _TOOL, succeeded=2, failed=1, retried=9),
        {"namespace": "here", "tool": "refund"},
    ),
    "LockstitchHandlerMissing": AlertCase(
        {f'lockstitch_open_escalations{{{HERE}, reason="no_handler"}}': "0x55 1x5"},
        {f'lockstitch_open_escalations{{{HERE}, reason="approval"}}': "0x55 1x5"},
    ),
    "LockstitchOutcomesUnknown": AlertCase(
        {f'lockstitch_open_escalations{{{HERE}, reason="outcome_unknown"}}': "0x55 1x5"},
        {f'lockstitch_open_escalations{{{HERE}, reason="handler_failed"}}': "0x55 1x5"},
    ),
    "LockstitchFilesGivenUp": AlertCase(
        _process(_GIVEN_UP, "3x204 4x5"),
        {
            **_process(_GIVEN_UP, "4x210"),
            f'lockstitch_files_ingested_total{{{HERE}, outcome="refused"}}': "0+1x210",
        },
        at="210m",
        also_fires=_unseen_increases(_GIVEN_UP, _FROM_ZERO),
        also_silent=_unscraped(_GIVEN_UP),
    ),
    "LockstitchUpstreamFailing": AlertCase(
        _counters("lockstitch_upstream_requests_total", "code", _LOCAL, _200=3, _429=1, none=1),
        _counters("lockstitch_upstream_requests_total", "code", _LOCAL, _200=9, _503=1, _400=5),
        {"namespace": "here", "backend": "local"},
    ),
    "LockstitchUpstreamRefusesKey": AlertCase(
        _process(_KEY_REFUSED, "_x205 1x5"),
        {
            **_process(_KEY_REFUSED, "7x210"),
            f'lockstitch_upstream_requests_total{{{HERE}, backend="local", code="404"}}': "0+1x210",
        },
        {"namespace": "here", "backend": "local"},
        "210m",
        _unseen_increases(_KEY_REFUSED, _NOT_THERE),
        _unscraped(_KEY_REFUSED),
    ),
    "LockstitchBudgetBurn": AlertCase(
        {f'lockstitch_model_cost_dollars_total{{{HERE}, model="large"}}': "0+0.05x60", **_BUDGET},  # 72 a day
        {f'lockstitch_model_cost_dollars_total{{{HERE}, model="large"}}': "0+0.03x60", **_BUDGET},  # 43.2 a day
    ),
    "LockstitchBudgetSpent": AlertCase(
        {f'lockstitch_model_cost_dollars_total{{{HERE}, model="large"}}': "0+0.5x60", **_BUDGET},
        # The same without a budget, and less with one.
        {
            f'lockstitch_model_cost_dollars_total{{{HERE}, model="large"}}': "0+0.1x60",
            'lockstitch_model_cost_dollars_total{namespace="elsewhere", model="large"}': "0+9x60",
            **_BUDGET,
        },
    ),
    "LockstitchModelWithoutPrice": AlertCase(
        _process(_UNPRICED, "_x205 900x5"),
        _process(_UNPRICED, "900x210"),
        {"namespace": "here", "model": "new"},
        "210m",
        _unseen_increases(_UNPRICED, _NOT_THERE),
        _unscraped(_UNPRICED),
    ),
    "LockstitchNoWorkerPolls": AlertCase(
        {f"lockstitch_task_queue_pollers{{{HERE}{_RUNS_QUEUE}}}": "4x50 0x10"},
        {
            f"lockstitch_task_queue_pollers{{{HERE}{_RUNS_QUEUE}}}": "4x60",
            # Nobody runs code or reads files here, and nobody wants it.
            f"lockstitch_task_queue_pollers{{{HERE}{_CODE_QUEUE}}}": "0x60",
            f"lockstitch_task_queue_backlog{{{HERE}{_CODE_QUEUE}}}": "0x60",
            f"lockstitch_task_queue_pollers{{{HERE}{_FILES_QUEUE}}}": "4x50 0x10",
            f"lockstitch_task_queue_backlog{{{HERE}{_FILES_QUEUE}}}": "0x60",
        },
        {"namespace": "here", "task_queue": "runs", "kind": "workflow"},
    ),
    "LockstitchBacklog": AlertCase(
        {f"lockstitch_task_queue_backlog_age_seconds{{{HERE}{_RUNS_QUEUE}}}": "0x50 0+60x10"},
        {f"lockstitch_task_queue_backlog_age_seconds{{{HERE}{_RUNS_QUEUE}}}": "0x50 0 60 90 0 60 90 0 60 90 0"},
        {"namespace": "here", "task_queue": "runs", "kind": "workflow"},
    ),
    "LockstitchProcessGone": AlertCase(
        {**_build("worker", "1x50 stale"), **_build("server", "1x60")},
        {**_build("worker", "1x60"), **_build("server", "1x57 stale _ 1")},
        {"namespace": "here", "process": "worker"},
    ),
    "LockstitchAbsent": AlertCase(_build("worker", "1x50 stale"), _build("worker", "1x60"), {}),
    "LockstitchProcessRestarts": AlertCase(
        {f'lockstitch_process_start_time_seconds{{{HERE}, job="w", instance="a"}}': "7x40 2460 stale 2580 2640x16"},
        {f'lockstitch_process_start_time_seconds{{{HERE}, job="w", instance="a"}}': "7x40 2460 stale 2580 2580x16"},
        {"namespace": "here", "job": "w", "instance": "a"},
    ),
    "LockstitchWorkflowTasksFail": AlertCase(
        {f'temporal_workflow_task_execution_failed_total{{{HERE}, workflow_type="ThreadRun"}}': "_x50 1+1x10"},
        {f'temporal_workflow_task_execution_failed_total{{{HERE}, workflow_type="ThreadRun"}}': "3x60"},
        {"namespace": "here", "workflow_type": "ThreadRun"},
        also_fires={
            "where Temporal tries again every ten minutes": {
                f'temporal_workflow_task_execution_failed_total{{{HERE}, workflow_type="ThreadRun"}}': (
                    "3x9 4x9 5x9 6x9 7x9 8x9 8"
                )
            }
        },
        also_silent={
            "after a step that failed once and one that failed twice": {
                f'temporal_workflow_task_execution_failed_total{{{HERE}, workflow_type="ThreadRun"}}': "3x54 4x5",
                f'temporal_workflow_task_execution_failed_total{{{HERE}, workflow_type="IngestFiles"}}': "0x52 2x7",
            },
            "when the last failure is long ago": {
                f'temporal_workflow_task_execution_failed_total{{{HERE}, workflow_type="ThreadRun"}}': "0+1x30 30x30",
            },
        },
    ),
    "LockstitchFleetReadingsFail": AlertCase(
        _counters("lockstitch_fleet_readings_total", "outcome", ', reading="open_runs"', done=1, failed=3),
        _counters("lockstitch_fleet_readings_total", "outcome", ', reading="open_runs"', done=3, failed=1),
        {"namespace": "here", "reading": "open_runs"},
    ),
    "LockstitchEventLogLag": AlertCase(
        _histogram("lockstitch_event_log_lag_seconds", "10", "5", "5"),
        _histogram("lockstitch_event_log_lag_seconds", "10", "100", "1"),
    ),
    "LockstitchServerErrors": AlertCase(
        _counters("lockstitch_http_requests_total", "status", _200=9, _500=1),
        _counters("lockstitch_http_requests_total", "status", _200=99, _503=1, _404=50),
    ),
    "LockstitchCommandsWaiting": _gauge(
        "lockstitch_oldest_command_age_seconds", "0x55 31 91 151 211 271", "0x55 31 0x4"
    ),
    "LockstitchStreamLag": AlertCase(
        _histogram("lockstitch_stream_lag_seconds", "10", "5", "5"),
        _histogram("lockstitch_stream_lag_seconds", "10", "100", "1"),
    ),
}

_NO_TRAFFIC = "5x60"


def _quantile(metric: str) -> RecordCase:
    # Of ten, nine within a second; the 95th of a hundred is in the middle of the bucket from 1 to 3.
    return RecordCase(
        _histogram(metric, "3", "9", "1"), 2.0, dict.fromkeys(_histogram(metric, "3", "1", "1"), _NO_TRAFFIC)
    )


def _ratio(metric: str, label: str, extra: str = "", labels: dict[str, str] | None = None, **each: int) -> RecordCase:
    """Return a case in which one in four is bad."""
    series = _counters(metric, label, extra, **each)
    silent = dict.fromkeys(series, _NO_TRAFFIC)
    return RecordCase(series, 0.25, silent, {"namespace": "here", **(labels or {})})


_COST = f'lockstitch_model_cost_dollars_total{{{HERE}, model="large"}}'

RECORDS: dict[str, RecordCase] = {
    "namespace:lockstitch_run_failures:ratio15m": _ratio(
        "lockstitch_runs_finished_total", "status", completed=6, failed=1, expired=1
    ),
    "namespace:lockstitch_run_queue_wait_seconds:p95_10m": _quantile("lockstitch_run_queue_wait_seconds"),
    "tool:lockstitch_tool_failures:ratio15m": _ratio(
        "lockstitch_tool_calls_total", "outcome", _TOOL, {"tool": "refund"}, succeeded=6, failed=2, retried=9
    ),
    "backend:lockstitch_upstream_failures:ratio10m": _ratio(
        "lockstitch_upstream_requests_total", "code", _LOCAL, {"backend": "local"}, _200=3, _503=1
    ),
    "namespace:lockstitch_model_cost_dollars:increase1h": RecordCase({_COST: "0+0.5x90"}, 30, {}, at="90m"),
    "namespace:lockstitch_model_cost_dollars:increase1d": RecordCase({_COST: "0+0.5x1460"}, 720, {}, at="1450m"),
    "namespace:lockstitch_event_log_lag_seconds:p95_5m": _quantile("lockstitch_event_log_lag_seconds"),
    "namespace:lockstitch_stream_lag_seconds:p95_5m": _quantile("lockstitch_stream_lag_seconds"),
    "namespace:lockstitch_http_errors:ratio5m": _ratio("lockstitch_http_requests_total", "status", _200=3, _500=1),
    "namespace:lockstitch_http_request_duration_seconds:p95_5m": _quantile("lockstitch_http_request_duration_seconds"),
}
