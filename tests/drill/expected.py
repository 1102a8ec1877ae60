"""What the drill must bring about: which alerts, and which panels stay empty."""

FIRES: dict[str, str] = {
    "LockstitchBacklog": "tasks wait for the worker that is stopped",
    "LockstitchBudgetBurn": "the model's price is much too high",
    "LockstitchBudgetSpent": "the same",
    "LockstitchEscalationDueSoon": "nobody decides, and a decision has 100 seconds",
    "LockstitchEscalationOpenTooLong": "the same",
    "LockstitchHandlerMissing": "nobody has a handler for send_fax",
    "LockstitchModelWithoutPrice": "one of the models has no price",
    "LockstitchNoWorkerPolls": "the worker is stopped for longer than a poll lasts",
    "LockstitchNotificationsFailing": "the receiver of webhooks answers 500",
    "LockstitchNotificationsUndelivered": "the same",
    "LockstitchProcessGone": "the worker is stopped",
    "LockstitchRequiresActionOld": "clients and people do not answer",
    "LockstitchRunsFailing": "a card that cannot be charged ends its run",
    "LockstitchRunsQueuedTooLong": "runs that came meanwhile wait",
    "LockstitchToolFailing": "charge_card fails always",
    "LockstitchUpstreamFailing": "the model is overloaded for a while",
}
"""Every alert that has to fire, and why. Any other that fires is a failure of the drill."""

MAY_FIRE: dict[str, str] = {
    "LockstitchQueueWait": "perhaps: where Prometheus sees the new worker early",
}
"""Those of which the drill cannot say: a new worker may take up everything that waited before its first scrape, and a
counter that begins with a number has not grown."""

MAY_STAY = frozenset({"LockstitchBudgetBurn", "LockstitchBudgetSpent", "LockstitchModelWithoutPrice"})
"""Those that may still fire at its end: what was spent is spent. The others have to resolve."""

EMPTY: dict[str, str] = {
    "http/Server errors, by operation": "no request is answered with 5xx",
    "http/Refused": "nobody is refused",
    "workers/Workflow tasks that fail": "every workflow task succeeds",
}
"""The panels, or columns of tables, that have no data in a drill, and why."""
