"""The dashboard of tools: which one fails, which one is slow, and what comes of it."""

from lockstitch.deploy.dashboards.grafana import (
    NAMESPACE,
    TOOL,
    Dashboard,
    Panel,
    Query,
    Row,
    heatmap,
    lines,
    quantile,
    stat,
    table,
)

_CALLS = "lockstitch_tool_calls_total{<tool>}"
_BAD = 'lockstitch_tool_calls_total{<tool>, outcome=~"failed|outcome_unknown"}'
_SECONDS = "lockstitch_tool_call_duration_seconds_bucket{<tool>}"

_FIRST = Row(
    "Does a tool fail?",
    (
        stat(
            "Calls that failed",
            "Calls of the last hour that failed for good. The model was told, or a person asked, as each tool's policy "
            "says. The table below says which tool.",
            'sum(increase(lockstitch_tool_calls_total{<tool>, outcome="failed"}[1h])) or vector(0)',
            odd_from=1,
        ),
        stat(
            "Outcomes unknown",
            "Calls of the last hour of which nobody knows whether they had their effect: a worker died or the time ran "
            "out. A person is asked about each; a tool with `reconcile` answers by itself.",
            'sum(increase(lockstitch_tool_calls_total{<tool>, outcome="outcome_unknown"}[1h])) or vector(0)',
            odd_from=1,
        ),
        stat(
            "Calls without a handler",
            "Open escalations about functions for which no worker has a handler. Deploy it, or answer by hand.",
            'sum(max by (namespace) (lockstitch_open_escalations{<here>, reason="no_handler"})) or vector(0)',
            bad_from=1,
        ),
        stat(
            "Waiting for approval",
            "Calls that a person has to approve before they are made.",
            'sum(max by (namespace) (lockstitch_open_escalations{<here>, reason="approval"})) or vector(0)',
            odd_from=1,
        ),
        stat(
            "Files to be read",
            "Files of vector stores that are being parsed and embedded. Growing for long: add workers that serve "
            "files.",
            'sum(max by (namespace) (lockstitch_vector_store_files{<here>, status="in_progress"}))',
            odd_from=100,
        ),
        stat(
            "Files given up",
            "Files of the last day whose ingestion broke three times.",
            'sum(increase(lockstitch_files_ingested_total{<here>, outcome="gave_up"}[1d])) or vector(0)',
            odd_from=1,
        ),
    ),
)
_CALLED = Row(
    "Calls",
    (
        table(
            "Tools in the last hour",
            "Each tool's attempts, the share that failed for good or with an unknown outcome, the share that was tried "
            "again, and how long 95 % of the attempts took. Start with the first line.",
            [
                ("sort_desc(sum by (tool) (increase(lockstitch_tool_calls_total{<tool>}[1h])))", "attempts"),
                (
                    f"(sum by (tool) (increase({_BAD}[1h])) or 0 * sum by (tool) (increase({_CALLS}[1h]))) "
                    f"/ sum by (tool) (increase({_CALLS}[1h]))",
                    "failed share",
                ),
                (
                    '(sum by (tool) (increase(lockstitch_tool_calls_total{<tool>, outcome="retried"}[1h])) '
                    f"or 0 * sum by (tool) (increase({_CALLS}[1h]))) "
                    f"/ sum by (tool) (increase({_CALLS}[1h]))",
                    "retried share",
                ),
                (f"histogram_quantile(0.95, sum by (le, tool) (rate({_SECONDS}[1h])))", "95 % within (s)"),
            ],
            width=12,
        ),
        Panel(
            "bargauge",
            "Failures, by tool",
            "The share of calls of the last 15 minutes that failed for good or with an unknown outcome. Look for "
            "`tool_call_failed` in the workers' log: it has the error.",
            (Query("max by (tool) (tool:lockstitch_tool_failures:ratio15m{<tool>})", "{{tool}}"),),
            "percentunit",
            12,
            odd_from=0.05,
            bad_from=0.5,
            most=1,
        ),
        lines(
            "Attempts, by tool",
            "Attempts per second.",
            [(f"sum by (tool) (rate({_CALLS}[$__rate_interval]))", "{{tool}}")],
            "ops",
            stacked=True,
        ),
        lines(
            "Attempts, by outcome",
            "succeeded; invalid_arguments (the model is told, and tries again); retried (another attempt follows); "
            "failed (none follows); outcome_unknown (a person is asked).",
            [(f"sum by (outcome) (rate({_CALLS}[$__rate_interval]))", "{{outcome}}")],
            "ops",
            stacked=True,
        ),
        lines(
            "Attempts that went wrong, by tool",
            "Everything but succeeded, per second.",
            [
                (
                    'sum by (tool, outcome) (rate(lockstitch_tool_calls_total{<tool>, outcome!="succeeded"}'
                    "[$__rate_interval]))",
                    "{{tool}}: {{outcome}}",
                )
            ],
            "ops",
        ),
    ),
)
_TIME = Row(
    "Time",
    (
        lines(
            "Duration (95 %)",
            "How long 95 % of the attempts took, by tool. Near the tool's timeout, calls begin to fail.",
            [(quantile(0.95, _SECONDS, "tool"), "{{tool}}")],
            "s",
        ),
        heatmap("Durations", "How the durations of all attempts are spread.", _SECONDS),
        lines(
            "Time lost in retries",
            "Seconds per second that handlers spent in attempts which had to be repeated.",
            [
                (
                    'sum by (tool) (rate(lockstitch_tool_call_duration_seconds_sum{<tool>, outcome="retried"}'
                    "[$__rate_interval]))",
                    "{{tool}}",
                )
            ],
            "short",
        ),
    ),
)
_AFTERWARDS = Row(
    "What comes of it",
    (
        lines(
            "Rungs climbed",
            "What was done about calls that did not succeed: retry, read_again, ask_a_person, and what a policy says "
            "last (deny, error_output, fail_run, cancel, replace).",
            [("sum by (rung) (rate(lockstitch_ladder_rungs_total{<here>}[$__rate_interval]))", "{{rung}}")],
            "ops",
            width=12,
            stacked=True,
        ),
        lines(
            "Files ingested, by outcome",
            "Files per second: ingested, refused (the file cannot be read) and gave_up (reading broke three times).",
            [("sum by (outcome) (rate(lockstitch_files_ingested_total{<here>}[$__rate_interval]))", "{{outcome}}")],
            "ops",
            width=12,
            stacked=True,
        ),
    ),
)

TOOLS = Dashboard(
    "tools",
    "Tools",
    "Which tool fails or is slow, what do its retries cost, and what comes of calls that fail?",
    (_FIRST, _CALLED, _TIME, _AFTERWARDS),
    (NAMESPACE, TOOL),
)
