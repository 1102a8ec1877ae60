"""The dashboard of escalations and stuck runs: who waits for a person, and was the person told."""

from lockstitch.deploy.dashboards.grafana import Dashboard, Row, lines, quantile, stat, table

_NOTIFICATIONS = "lockstitch_notifications_total{<here>}"
_DELIVERY = "lockstitch_notification_duration_seconds_bucket{<here>}"

_FIRST = Row(
    "Is anything lost or waiting?",
    (
        stat(
            "Open escalations",
            "Questions that wait for a person. `lockstitch escalations list` shows them, with what happens at their "
            "deadlines.",
            "sum(max by (namespace, reason) (lockstitch_open_escalations{<here>}))",
            odd_from=1,
        ),
        stat(
            "Oldest escalation",
            "For how long the oldest of them has been open. A decision has five minutes unless a policy says "
            "otherwise.",
            "max(lockstitch_oldest_escalation_age_seconds{<here>})",
            "s",
            odd_from=60,
            bad_from=180,
        ),
        stat(
            "About to reach their deadline",
            "Escalations whose deadline is less than two minutes away. After it the policy decides: it never approves.",
            "sum(max by (namespace) (lockstitch_escalations_due_soon{<here>}))",
            bad_from=1,
        ),
        stat(
            "Undelivered notifications",
            "Notifications that have been tried for more than a minute: nobody may know of those escalations. See the "
            "attempts below, and `notification_failed` in the workers' log.",
            "sum(max by (namespace) (lockstitch_undelivered_notifications{<here>}))",
            bad_from=1,
        ),
        stat(
            "Overdue runs",
            "Open runs whose deadline has passed by more than a minute. Always 0.",
            "sum(max by (namespace) (lockstitch_overdue_runs{<here>}))",
            bad_from=1,
        ),
        stat(
            "Oldest in requires_action",
            "Since when the run that has waited longest for tool outputs waits, whoever has to give them.",
            'max(lockstitch_oldest_run_age_seconds{<here>, status="requires_action"})',
            "s",
            odd_from=120,
            bad_from=300,
        ),
    ),
)
_PEOPLE = Row(
    "What people are asked",
    (
        lines(
            "Open, by reason",
            "approval: a call waits for a yes. no_handler: no worker knows the function. handler_failed: it failed "
            "for good. outcome_unknown: nobody knows whether it took effect.",
            [
                (
                    "sum by (reason) (max by (namespace, reason) (lockstitch_open_escalations{<here>}))",
                    "{{reason}}",
                )
            ],
            "short",
            width=12,
            stacked=True,
        ),
        lines(
            "Age of the oldest",
            "A line that climbs is a question that nobody answers; it falls when somebody does or the deadline passes.",
            [
                ("max(lockstitch_oldest_escalation_age_seconds{<here>})", "oldest escalation"),
                (
                    'max(lockstitch_oldest_run_age_seconds{<here>, status="requires_action"})',
                    "oldest run in requires_action",
                ),
            ],
            "s",
            width=12,
            bad_from=180,
        ),
        lines(
            "Opened, by reason",
            "Escalations per second. no_handler after a deployment means that a handler is missing in it.",
            [
                (
                    "sum by (reason) (rate(lockstitch_escalations_opened_total{<here>}[$__rate_interval]))",
                    "{{reason}}",
                )
            ],
            "ops",
            stacked=True,
        ),
        lines(
            "Closed, by what closed them",
            "An action (approve, deny, answer, retry, error, cancel), an output from outside (answer), the deadline, "
            "or the end of the run. Much `deadline` means that people are told too late or not at all.",
            [("sum by (by) (rate(lockstitch_escalations_closed_total{<here>}[$__rate_interval]))", "{{by}}")],
            "ops",
            stacked=True,
        ),
        table(
            "Closed in 24 hours",
            "What became of the escalations, by reason.",
            [
                (
                    "sort_desc(sum by (reason, by) (increase(lockstitch_escalations_closed_total{<here>}[1d])) > 0)",
                    "escalations",
                )
            ],
        ),
    ),
)
_TOLD = Row(
    "Are people told?",
    (
        lines(
            "Attempts at notifications, by outcome",
            "delivered; failed (tried again); refused (the address is not allowed, or the receiver wants no more); "
            "gave_up (tried for a day); not_configured (LOCKSTITCH_WEBHOOK_URL is empty).",
            [(f"sum by (outcome) (rate({_NOTIFICATIONS}[$__rate_interval]))", "{{outcome}}")],
            "ops",
            stacked=True,
        ),
        lines(
            "Undelivered",
            "Notifications that have been tried for more than a minute. The receiver is down, or refuses them.",
            [("sum(max by (namespace) (lockstitch_undelivered_notifications{<here>}))", "undelivered")],
            "short",
        ),
        lines(
            "Time of one attempt (95 %)",
            "How long the receiver takes. An attempt ends after 15 seconds: the receiver should answer first and work "
            "afterwards.",
            [(quantile(0.95, _DELIVERY, "outcome"), "{{outcome}}")],
            "s",
            bad_from=15,
        ),
    ),
)
_STUCK = Row(
    "Stuck runs",
    (
        lines(
            "Open runs that are past their deadline",
            "Above 0, nothing moves the run: no worker polls, or its workflow fails to replay.",
            [("sum(max by (namespace) (lockstitch_overdue_runs{<here>}))", "overdue")],
            "short",
        ),
        lines(
            "Age of the oldest, by status",
            "Since when the oldest open run has its status.",
            [("max by (status) (lockstitch_oldest_run_age_seconds{<here>})", "{{status}}")],
            "s",
        ),
        lines(
            "Rungs climbed",
            "What was done about calls and runs that got stuck, per second.",
            [("sum by (rung) (rate(lockstitch_ladder_rungs_total{<here>}[$__rate_interval]))", "{{rung}}")],
            "ops",
            stacked=True,
        ),
    ),
)

ESCALATIONS = Dashboard(
    "escalations",
    "Escalations and stuck runs",
    "Who waits for a person, was the person told, and what became of it?",
    (_FIRST, _PEOPLE, _TOLD, _STUCK),
)
