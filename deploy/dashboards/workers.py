"""The dashboard of workers and Temporal: is the fleet up, large enough and healthy."""

from lockstitch.deploy.dashboards.grafana import Dashboard, Row, heatmap, lines, quantile, stat, table

_QUEUE = "namespace, task_queue, kind"
_LOG_LAG = "lockstitch_event_log_lag_seconds_bucket{<here>}"
_LOG_WRITE = "lockstitch_event_log_write_duration_seconds_bucket{<here>}"

_FIRST = Row(
    "Is anybody working?",
    (
        stat(
            "Workers",
            "Worker processes that answered the last scrape. 0: runs are accepted and wait.",
            'count(lockstitch_build_info{<here>, process="worker"}) or vector(0)',
        ),
        stat(
            "Servers",
            "HTTP servers that answered the last scrape.",
            'count(lockstitch_build_info{<here>, process="server"}) or vector(0)',
        ),
        stat(
            "Task queues without a worker",
            "Task queues that nobody has polled for a minute, as the Temporal server says. Their tasks wait. Those of "
            "files and code count only where tasks wait in them.",
            f'count((max by ({_QUEUE}) (lockstitch_task_queue_pollers{{<here>, task_queue="runs"}}) == 0) '
            f'or (max by ({_QUEUE}) (lockstitch_task_queue_pollers{{<here>, task_queue!="runs"}}) == 0 '
            f"and max by ({_QUEUE}) (lockstitch_task_queue_backlog{{<here>}}) > 0)) or vector(0)",
            bad_from=1,
        ),
        stat(
            "Oldest task",
            "How long the task that has waited longest for a worker waits. Above seconds: add workers or slots.",
            "max(lockstitch_task_queue_backlog_age_seconds{<here>})",
            "s",
            odd_from=5,
            bad_from=60,
        ),
        stat(
            "Oldest command",
            "Since when something that was accepted over HTTP waits to be told to Temporal.",
            "max(lockstitch_oldest_command_age_seconds{<here>})",
            "s",
            odd_from=5,
            bad_from=30,
        ),
        stat(
            "Readings that fail",
            "The share of the readings of the fleet in the last 10 minutes that failed, of the kind that fails most. "
            "Gauges that cannot be read are absent, so other alerts may be blind.",
            'max(sum by (reading) (increase(lockstitch_fleet_readings_total{<here>, outcome="failed"}[10m])) '
            "/ sum by (reading) (increase(lockstitch_fleet_readings_total{<here>}[10m]))) or vector(0)",
            "percentunit",
            odd_from=0.01,
            bad_from=0.5,
        ),
    ),
)
_FLEET = Row(
    "The fleet",
    (
        lines(
            "Pollers, by task queue",
            "Who asks for tasks, as the Temporal server says; one that has not asked for 75 seconds is gone.",
            [
                (
                    "sum by (task_queue, kind) (max by (namespace, task_queue, kind) "
                    "(lockstitch_task_queue_pollers{<here>}))",
                    "{{task_queue}}, {{kind}}",
                )
            ],
            "short",
        ),
        lines(
            "Tasks that wait, by task queue",
            "The backlog, as the Temporal server says.",
            [
                (
                    "sum by (task_queue, kind) (max by (namespace, task_queue, kind) "
                    "(lockstitch_task_queue_backlog{<here>}))",
                    "{{task_queue}}, {{kind}}",
                )
            ],
            "short",
            stacked=True,
        ),
        lines(
            "Age of the oldest task, by task queue",
            "A line that climbs is a queue that nobody serves.",
            [
                (
                    "max by (task_queue, kind) (lockstitch_task_queue_backlog_age_seconds{<here>})",
                    "{{task_queue}}, {{kind}}",
                )
            ],
            "s",
            bad_from=60,
        ),
        table(
            "What runs",
            "Processes by version and build. Two builds side by side are an upgrade under way.",
            [("count by (process, version, build_id) (lockstitch_build_info{<here>})", "processes")],
        ),
        lines(
            "Slots in use",
            "The share of a worker's slots that is taken, by task queue and kind of work. Near 100 %, tasks wait "
            "although workers are up: raise LOCKSTITCH_MAX_CONCURRENT_ACTIVITIES or add workers.",
            [
                (
                    "max by (task_queue, worker_type) (temporal_worker_task_slots_used{<here>} / "
                    "(temporal_worker_task_slots_used{<here>} + temporal_worker_task_slots_available{<here>} > 0))",
                    "{{task_queue}}, {{worker_type}}",
                )
            ],
            "percentunit",
            most=1,
            bad_from=0.9,
        ),
        lines(
            "Starts of processes",
            "How often each process that was scraped began anew within an hour. More than once after a "
            "deployment: read its last words in the log.",
            [
                (
                    "max by (instance) (changes(lockstitch_process_start_time_seconds{<here>}[1h]))",
                    "{{instance}}",
                )
            ],
            "short",
        ),
    ),
)
_TEMPORAL = Row(
    "Temporal, as the workers see it",
    (
        lines(
            "Tasks' way to a worker (95 %)",
            "From being scheduled to being taken. Above a second: add workers; while slots are free, look at the "
            "Temporal server.",
            [
                (
                    quantile(0.95, "temporal_workflow_task_schedule_to_start_latency_bucket{<here>}", "task_queue"),
                    "{{task_queue}}, workflow",
                ),
                (
                    quantile(0.95, "temporal_activity_schedule_to_start_latency_bucket{<here>}", "task_queue"),
                    "{{task_queue}}, activity",
                ),
            ],
            "s",
        ),
        lines(
            "Workflow tasks that fail",
            "Per second, by workflow. Not 0 after a deployment: code that does not replay the histories of open runs. "
            "Roll back.",
            [
                (
                    "sum by (workflow_type, failure_reason) (rate(temporal_workflow_task_execution_failed_total{<here>}"
                    "[$__rate_interval]))",
                    "{{workflow_type}}: {{failure_reason}}",
                )
            ],
            "ops",
        ),
        lines(
            "Attempts at activities that fail",
            "Per second, by activity. Temporal tries again; tools have a dashboard of their own.",
            [
                (
                    "sum by (activity_type) (rate(temporal_activity_execution_failed_total{<here>}[$__rate_interval]))",
                    "{{activity_type}}",
                )
            ],
            "ops",
        ),
        lines(
            "Requests to Temporal (95 %)",
            "How long the Temporal server takes to answer, by operation.",
            [(quantile(0.95, "temporal_request_latency_bucket{<here>}", "operation"), "{{operation}}")],
            "s",
        ),
        lines(
            "Requests to Temporal that fail",
            "Per second, by operation and code. RESOURCE_EXHAUSTED: the namespace's limit; UNAVAILABLE: the server.",
            [
                (
                    "sum by (operation, status_code) (rate(temporal_request_failure_total{<here>}[$__rate_interval]))",
                    "{{operation}}: {{status_code}}",
                )
            ],
            "ops",
        ),
        lines(
            "Workflows in memory",
            "Runs that workers keep at hand. Runs that were pushed out are replayed, which costs time.",
            [("sum by (instance) (temporal_sticky_cache_size{<here>})", "{{instance}}")],
            "short",
        ),
    ),
)
_EVENT_LOG = Row(
    "The event log",
    (
        lines(
            "Events written",
            "Per second, over all workers.",
            [("sum(rate(lockstitch_event_log_events_total{<here>}[$__rate_interval]))", "events")],
            "ops",
            width=6,
        ),
        lines(
            "Lag",
            "From when a backend gave an event to when it was committed. Watchers see nothing earlier. Above a "
            "second, the database is slow or full.",
            [(quantile(0.5, _LOG_LAG), "half of them"), (quantile(0.95, _LOG_LAG), "95 %")],
            "s",
            width=6,
            bad_from=2,
        ),
        heatmap("Lag, spread", "How the lag of events is spread.", _LOG_LAG, width=6),
        lines(
            "One transaction",
            "How long the database takes to write a batch of events.",
            [(quantile(0.5, _LOG_WRITE), "half of them"), (quantile(0.95, _LOG_WRITE), "95 %")],
            "s",
            width=6,
        ),
    ),
)

WORKERS = Dashboard(
    "workers",
    "Workers and Temporal",
    "Is the fleet up, is it large enough, and does Temporal answer?",
    (_FIRST, _FLEET, _TEMPORAL, _EVENT_LOG),
)
