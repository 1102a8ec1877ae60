"""The gauges of what concerns the whole fleet, and not one process: one process at a time reads and shows them."""

from lockstitch.metrics.vanishing_gauges import GaugeName

OPEN_RUNS = GaugeName(
    "lockstitch_open_runs",
    "Runs that have not ended, by status, in the whole namespace, as the Temporal server counts them.",
    ("status",),
)
OLDEST_RUN_AGE = GaugeName(
    "lockstitch_oldest_run_age_seconds",
    "For how long the oldest open run has had its status; 0 where no run has it.",
    ("status",),
)
OVERDUE_RUNS = GaugeName("lockstitch_overdue_runs", "Open runs whose deadline has passed by more than a minute.")
OPEN_ESCALATIONS = GaugeName(
    "lockstitch_open_escalations", "Escalations that wait for a person, by what is asked.", ("reason",)
)
OLDEST_ESCALATION_AGE = GaugeName(
    "lockstitch_oldest_escalation_age_seconds", "For how long the oldest open escalation has waited; 0: there is none."
)
ESCALATIONS_DUE_SOON = GaugeName(
    "lockstitch_escalations_due_soon", "Open escalations whose deadline comes within two minutes."
)
WAITING_COMMANDS = GaugeName(
    "lockstitch_waiting_commands", "What was accepted and the Temporal server has not been told yet."
)
OLDEST_COMMAND_AGE = GaugeName(
    "lockstitch_oldest_command_age_seconds", "For how long the oldest of these has waited; 0: there is none."
)
UNDELIVERED_NOTIFICATIONS = GaugeName(
    "lockstitch_undelivered_notifications", "Notifications that have been tried for more than a minute."
)
QUEUE_POLLERS = GaugeName(
    "lockstitch_task_queue_pollers", "Workers that ask a task queue for work.", ("task_queue", "kind")
)
QUEUE_BACKLOG = GaugeName(
    "lockstitch_task_queue_backlog", "Tasks that wait for a worker, as the Temporal server estimates.",
    ("task_queue", "kind"),
)  # fmt: skip
QUEUE_BACKLOG_AGE = GaugeName(
    "lockstitch_task_queue_backlog_age_seconds", "For how long the oldest of these has waited.", ("task_queue", "kind")
)
VECTOR_STORE_FILES = GaugeName(
    "lockstitch_vector_store_files", "Files of vector stores that wait for their ingestion or are in it.", ("status",)
)

ALL = (
    OPEN_RUNS,
    OLDEST_RUN_AGE,
    OVERDUE_RUNS,
    OPEN_ESCALATIONS,
    OLDEST_ESCALATION_AGE,
    ESCALATIONS_DUE_SOON,
    WAITING_COMMANDS,
    OLDEST_COMMAND_AGE,
    UNDELIVERED_NOTIFICATIONS,
    QUEUE_POLLERS,
    QUEUE_BACKLOG,
    QUEUE_BACKLOG_AGE,
    VECTOR_STORE_FILES,
)
