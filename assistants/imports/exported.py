"""The API's objects as other servers gave them out, and the rows of the store that they become.

The published description and the recorded traffic of the real API differ, so a field that either leaves out may be
missing, and one that we do not keep may be there.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lockstitch.assistants import objects
from lockstitch.assistants.store.rows import Row
from lockstitch.starter.contract import MAX_INTEGER, ImageFile, ImageUrl, ResponseFormat, ToolParam

Time = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
Strings = dict[str, str]


def _id(prefix: str) -> Any:
    return Field(pattern=rf"^{prefix}_[A-Za-z0-9_-]+$", max_length=64)


AssistantId = Annotated[str, _id("asst")]
ThreadId = Annotated[str, _id("thread")]
MessageId = Annotated[str, _id("msg")]


class _Exported(BaseModel):
    model_config = ConfigDict(strict=True)

    created_at: Time
    metadata: Strings | None = None


class ExportedAssistant(_Exported):
    """An ``assistant``."""

    object: Literal["assistant"]
    id: AssistantId
    model: Annotated[str, Field(min_length=1)]
    name: str | None = None
    description: str | None = None
    instructions: str | None = None
    tools: list[ToolParam] = Field(default_factory=list)
    tool_resources: dict[str, Any] | None = None
    temperature: float | None = None
    top_p: float | None = None
    reasoning_effort: Annotated[str, Field(max_length=16)] | None = None
    response_format: ResponseFormat | None = None

    def row(self, project: str) -> Row:
        """Return it as the store keeps it."""
        values = self.model_dump(mode="json", by_alias=True, exclude={"object"})
        return values | {
            "project_id": project,
            "tools": objects.tools(self.tools),
            "tool_resources": self.tool_resources or {},
            "metadata": self.metadata or {},
        }


class ExportedThread(_Exported):
    """A ``thread``."""

    object: Literal["thread"]
    id: ThreadId
    tool_resources: dict[str, Any] | None = None

    def row(self, project: str) -> Row:
        """Return it as the store keeps it."""
        return {
            "id": self.id,
            "project_id": project,
            "created_at": self.created_at,
            "tool_resources": self.tool_resources or {},
            "metadata": self.metadata or {},
        }


class Text(BaseModel):
    """Text with its annotations."""

    value: str
    annotations: list[dict[str, Any]] = Field(default_factory=list)


class TextContent(BaseModel):
    """Text in a message."""

    type: Literal["text"]
    text: Text


class ImageFileContent(BaseModel):
    """An image in a message, by file id."""

    type: Literal["image_file"]
    image_file: ImageFile


class ImageUrlContent(BaseModel):
    """An image in a message, by URL."""

    type: Literal["image_url"]
    image_url: ImageUrl


class RefusalContent(BaseModel):
    """What the model said when it refused."""

    type: Literal["refusal"]
    refusal: str


Content = Annotated[TextContent | ImageFileContent | ImageUrlContent | RefusalContent, Field(discriminator="type")]


class ExportedAttachment(BaseModel):
    """A file that came with a message."""

    model_config = ConfigDict(extra="allow")

    file_id: str | None = None


class ExportedMessage(_Exported):
    """A ``thread.message``."""

    object: Literal["thread.message"]
    id: MessageId
    thread_id: ThreadId
    role: Literal["user", "assistant"]
    content: list[Content]
    attachments: list[ExportedAttachment] | None = None
    assistant_id: str | None = None
    run_id: str | None = None
    status: Literal["in_progress", "incomplete", "completed"] = "completed"
    completed_at: Time | None = None
    incomplete_at: Time | None = None
    incomplete_details: dict[str, Any] | None = None

    def row(self, _project: str) -> Row:
        """Return it as the store keeps it; the run that was still writing it is gone, so it stays incomplete."""
        values = self.model_dump(mode="json", exclude={"object"})
        values |= {"metadata": self.metadata or {}, "attachments": values["attachments"] or []}
        if self.status == "in_progress":
            cut_off = {"incomplete_at": self.created_at, "incomplete_details": {"reason": "run_expired"}}
            values |= {"status": "incomplete", **cut_off}
        elif self.status == "completed" and self.completed_at is None:
            values["completed_at"] = self.created_at
        return values

    @property
    def file_ids(self) -> set[str]:
        """The files of which the message speaks."""
        shown = {part.image_file.file_id for part in self.content if part.type == "image_file"}
        return shown | {attached.file_id for attached in self.attachments or () if attached.file_id}


ExportedObject = ExportedAssistant | ExportedThread | ExportedMessage
