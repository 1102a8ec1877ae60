"""What the delivery of a notification is given and gives back: ids and small control values, no content."""

from typing import Literal

from pydantic import AwareDatetime, BaseModel

NotificationEvent = Literal["escalation.opened", "escalation.resolved"]

NotificationOutcome = Literal["delivered", "refused", "not_configured", "gave_up"]
"""How a notification ended.

``refused``: it goes nowhere, for the address is not allowed or the receiver wants no more; ``gave_up``: no attempt
succeeded in the time that there was.
"""

AttemptOutcome = Literal[NotificationOutcome, "failed"]
"""How one attempt ended; another follows one that ``failed``."""


class Notification(BaseModel):
    """An escalation that was opened or resolved, for the person who has to know.

    ``reason`` is a stable key such as ``approval``, ``detail`` one sentence for people; ``on_deadline`` says what
    happens at the ``deadline`` if nobody decides. ``approvable`` says that a decision link can decide it.
    """

    escalation_id: str
    event: NotificationEvent
    run_id: str
    reason: str
    opened_at: AwareDatetime
    deadline: AwareDatetime
    thread_id: str = ""
    assistant_id: str = ""
    tenant: str = "default"
    backend: str = "local"
    call_id: str | None = None
    tool: str | None = None
    detail: str = ""
    on_deadline: str = ""
    resolution: str | None = None
    resolved_by: str | None = None
    approvable: bool = False

    @property
    def occasion(self) -> str:
        """``opened`` or ``resolved``."""
        return self.event.rpartition(".")[2]

    @property
    def workflow_id(self) -> str:
        """The id of the workflow that delivers it, so that each is delivered by one."""
        return f"notify-{self.escalation_id}-{self.occasion}"

    @property
    def message_id(self) -> str:
        """The ``webhook-id``, the same in every attempt. Standard Webhooks: no full stop in it."""
        return f"msg_{self.escalation_id}_{self.occasion}".replace(".", "-")

    @property
    def summary(self) -> str:
        """What the Temporal UI shows of it in one line."""
        about = f" of {self.tool}" if self.tool else ""
        return f"Tell a person: escalation {self.occasion}, {self.reason}{about}"


class NotificationResult(BaseModel):
    """What became of a notification; ``attempts`` is 0 where the last one did not say its number."""

    delivered: bool = False
    outcome: NotificationOutcome
    attempts: int = 0
    detail: str = ""
