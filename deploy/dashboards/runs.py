"""The dashboard of runs: do they end, how long do they take, and what do they cost."""

from lockstitch.deploy.dashboards.grafana import (
    BACKEND,
    NAMESPACE,
    TENANT_CLASS,
    Dashboard,
    Row,
    heatmap,
    lines,
    quantile,
    stat,
)

_RUN_SECONDS = "lockstitch_run_duration_seconds_bucket{<runs>}"
_QUEUE_WAIT = "lockstitch_run_queue_wait_seconds_bucket{<runs>}"
_FIRST_TOKEN = "lockstitch_time_to_first_token_seconds_bucket{<backend>}"  # noqa: S105 - a metric
_FINISHED = "lockstitch_runs_finished_total{<runs>}"

LOST_OR_WAITING = Row(
    "Is anything lost or waiting?",
    (
        stat(
            "Overdue runs",
            "Open runs whose deadline has passed by more than a minute. Always 0: each one is about to be lost. "
            "Find them with `lockstitch runs list`, and see the runbook of LockstitchRunOverdue.",
            "sum(max by (namespace) (lockstitch_overdue_runs{<here>}))",
            bad_from=1,
        ),
        stat(
            "Open escalations",
            "Questions that wait for a person. `lockstitch escalations list` shows them.",
            "sum(max by (namespace, reason) (lockstitch_open_escalations{<here>}))",
            odd_from=1,
        ),
        stat(
            "Oldest in requires_action",
            "Since when the run that has waited longest for tool outputs waits. A run has ten minutes unless its "
            "policy says otherwise: look at it before they are over.",
            'max(lockstitch_oldest_run_age_seconds{<here>, status="requires_action"})',
            "s",
            odd_from=120,
            bad_from=300,
        ),
        stat(
            "Oldest queued",
            "Since when the run that has waited longest for its first turn waits. Above a few seconds workers are "
            "missing or full: see the dashboard Workers and Temporal.",
            'max(lockstitch_oldest_run_age_seconds{<here>, status="queued"})',
            "s",
            odd_from=10,
            bad_from=60,
        ),
        stat(
            "Commands waiting",
            "What was accepted over HTTP and not yet told to Temporal. Above 0 for more than seconds, Temporal is out "
            "of the servers' reach; nothing is lost, and it is told as soon as Temporal answers.",
            "sum(max by (namespace) (lockstitch_waiting_commands{<here>}))",
            odd_from=1,
            bad_from=10,
        ),
        stat(
            "Runs that fail",
            "The share of runs that ended as failed or expired in the last 15 minutes. Look at the failed runs' last "
            "errors in the Temporal UI.",
            "max(namespace:lockstitch_run_failures:ratio15m{<here>})",
            "percentunit",
            odd_from=0.02,
            bad_from=0.1,
        ),
    ),
)
_FLOW = Row(
    "Runs",
    (
        lines(
            "Finished, by status",
            "Runs that ended, per second. Where failed or expired grows, see what the failed ones say in the Temporal "
            "UI: filter by LockstitchStatus.",
            [(f"sum by (status) (rate({_FINISHED}[$__rate_interval]))", "{{status}}")],
            "ops",
            stacked=True,
        ),
        lines(
            "Open, by status",
            "Runs that have not ended. They should come and go; a level that only grows is a fleet that is too small "
            "(queued, in_progress) or calls that nobody answers (requires_action).",
            [
                (
                    "sum by (status) (max by (namespace, status) (lockstitch_open_runs{<here>}))",
                    "{{status}}",
                )
            ],
            "short",
            stacked=True,
        ),
        lines(
            "Age of the oldest, by status",
            "Since when the oldest open run has its status. A line that climbs steadily is one run that nobody "
            "moves; it ends at its deadline at the latest.",
            [("max by (status) (lockstitch_oldest_run_age_seconds{<here>})", "{{status}}")],
            "s",
        ),
        lines(
            "Started and finished",
            "Runs that workers took up against runs that ended, per second. Apart for long, something piles up.",
            [
                ("sum(rate(lockstitch_runs_started_total{<runs>}[$__rate_interval]))", "started"),
                (f"sum(rate({_FINISHED}[$__rate_interval]))", "finished"),
            ],
            "ops",
        ),
        lines(
            "Failures, by tenant class",
            "The share of runs that ended as failed or expired. One class alone: its assistants or tools; all of them: "
            "the model or the platform.",
            [
                (
                    # A class without failures has no series of them, and is 0 nevertheless.
                    '(sum by (tenant_class) (rate(lockstitch_runs_finished_total{<runs>, status=~"failed|expired"}'
                    f"[$__rate_interval])) or 0 * sum by (tenant_class) (rate({_FINISHED}[$__rate_interval]))) "
                    f"/ sum by (tenant_class) (rate({_FINISHED}[$__rate_interval]))",
                    "{{tenant_class}}",
                )
            ],
            "percentunit",
            bad_from=0.1,
            most=1,
        ),
        lines(
            "Finished, by tenant class",
            "Who uses the fleet, in runs per second.",
            [(f"sum by (tenant_class) (rate({_FINISHED}[$__rate_interval]))", "{{tenant_class}}")],
            "ops",
            stacked=True,
        ),
    ),
)
_TIME = Row(
    "How long runs take, and where they wait",
    (
        lines(
            "Duration",
            "From the acceptance of runs to their end. Compare with the time in each status to see where it goes.",
            [
                (quantile(0.5, _RUN_SECONDS), "half of them"),
                (quantile(0.95, _RUN_SECONDS), "95 %"),
                (quantile(0.99, _RUN_SECONDS), "99 %"),
            ],
            "s",
        ),
        heatmap(
            "Durations",
            "How the durations are spread. Two bands are two kinds of runs: with tools and without, or with a person.",
            _RUN_SECONDS,
        ),
        lines(
            "Duration, by tenant class (95 %)",
            "Whether one class of tenants waits longer than the others.",
            [(quantile(0.95, _RUN_SECONDS, "tenant_class"), "{{tenant_class}}")],
            "s",
        ),
        lines(
            "Time in each status (95 %)",
            "Where runs spend their time before they leave a status: queued is waiting for workers, in_progress is the "
            "model and the handlers of its tools, requires_action is waiting for whoever has to answer.",
            [(quantile(0.95, "lockstitch_run_status_duration_seconds_bucket{<backend>}", "status"), "{{status}}")],
            "s",
        ),
        lines(
            "Wait for a worker (95 %)",
            "From the acceptance of a run to the moment a worker took it up. Above a second, add workers.",
            [(quantile(0.95, _QUEUE_WAIT, "tenant_class"), "{{tenant_class}}")],
            "s",
            bad_from=30,
        ),
        lines(
            "Time to the first token",
            "From asking a model to the first thing it said. It is the upstream's, unless attempts are retried.",
            [
                (quantile(0.5, _FIRST_TOKEN, "backend"), "{{backend}}, half"),
                (quantile(0.95, _FIRST_TOKEN, "backend"), "{{backend}}, 95 %"),
            ],
            "s",
        ),
    ),
)
_MODELS = Row(
    "Models: turns, retries and money",
    (
        lines(
            "Attempts at model turns, by outcome",
            "done, retried (Temporal tries again), failed (for good) and broken (the run upstream has to be replaced). "
            "Retried alone costs time; failed ends runs.",
            [("sum by (outcome) (rate(lockstitch_model_turns_total{<backend>}[$__rate_interval]))", "{{outcome}}")],
            "ops",
            stacked=True,
        ),
        lines(
            "Requests upstream that fail, by code",
            "Answers other than 200; none is no answer at all. 429: lower the load or raise the quota; 401: the key.",
            [
                (
                    'sum by (backend, code) (rate(lockstitch_upstream_requests_total{<backend>, code!~"2.."}'
                    "[$__rate_interval]))",
                    "{{backend}} {{code}}",
                )
            ],
            "reqps",
        ),
        lines(
            "What retries cost",
            "Seconds per second spent in attempts that had to be repeated: 1 is one slot that does nothing else.",
            [
                (
                    'sum(rate(lockstitch_model_turn_duration_seconds_sum{<backend>, outcome="retried"}'
                    "[$__rate_interval]))",
                    "model turns",
                ),
                (
                    'sum(rate(lockstitch_tool_call_duration_seconds_sum{<here>, outcome="retried"}[$__rate_interval]))',
                    "tool calls",
                ),
            ],
            "short",
        ),
        lines(
            "Tokens, by model",
            "Tokens per second. Prompt tokens that grow while runs do not are threads that grow.",
            [("sum by (model, kind) (rate(lockstitch_tokens_total{<here>}[$__rate_interval]))", "{{model}}, {{kind}}")],
            "short",
        ),
        lines(
            "Dollars a day at this pace",
            "What a day costs if it goes on like this, by model, and the budget where one is set. Above the budget: "
            "which model, and whose runs?",
            [
                (
                    "86400 * sum by (model) (rate(lockstitch_model_cost_dollars_total{<here>}[$__rate_interval]))",
                    "{{model}}",
                ),
                ("sum(max by (namespace) (lockstitch_budget_dollars_per_day{<here>}))", "budget"),
            ],
            "currencyUSD",
        ),
        stat(
            "Spent in 24 hours",
            "Dollars, by the prices in the settings.",
            "sum(increase(lockstitch_model_cost_dollars_total{<here>}[1d]))",
            "currencyUSD",
        ),
        stat(
            "Tokens without a price",
            "Tokens of the last 24 hours that are in no sum of dollars, because their model has no price in "
            "LOCKSTITCH_MODEL_PRICES.",
            "sum(increase(lockstitch_unpriced_tokens_total{<here>}[1d])) or vector(0)",
            odd_from=1,
        ),
    ),
)

RUNS = Dashboard(
    "runs",
    "Runs",
    "Do runs end, how long do they take, where do they wait, and what do they cost?",
    (LOST_OR_WAITING, _FLOW, _TIME, _MODELS),
    (NAMESPACE, BACKEND, TENANT_CLASS),
)
