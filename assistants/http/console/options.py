"""What the operator's page has to know of the installation."""

from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from lockstitch.errors import SettingsInvalid


@dataclass(frozen=True, slots=True)
class ConsoleOptions:
    """Where things are; raises `SettingsInvalid` for a URL that is none."""

    temporal_ui_url: str = ""
    """Without a Temporal UI, there are no links to it."""
    namespace: str = "default"
    public_url: str = ""
    """Where people reach this server, if that is known."""
    secret: str = ""
    """What sessions are signed with beside the hash of the key; the same for every process, which may be nothing."""

    def __post_init__(self) -> None:
        if self.temporal_ui_url and not self.temporal_ui_url.startswith(("http://", "https://")):
            problem = "this is no URL that begins with http:// or https://."
            raise SettingsInvalid("LOCKSTITCH_TEMPORAL_UI_URL", problem)

    def __repr__(self) -> str:
        return f"ConsoleOptions(temporal_ui_url={self.temporal_ui_url!r}, public_url={self.public_url!r})"

    def workflow_url(self, run_id: str) -> str | None:
        """Return the page of a run in the Temporal UI; ``None`` where there is no such UI."""
        if not self.temporal_ui_url:
            return None
        namespace, workflow = quote(self.namespace, safe=""), quote(run_id, safe="")
        return f"{self.temporal_ui_url.rstrip('/')}/namespaces/{namespace}/workflows/{workflow}"

    @property
    def is_https(self) -> bool:
        """Whether browsers reach this server over https."""
        return urlsplit(self.public_url).scheme == "https"
