"""The contract: what is refused and how clearly, and that callers and workers of two releases understand each other."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined

from lockstitch.activities import messages
from lockstitch.starter import contract, escalations
from lockstitch.starter.contract import RunEvent, RunSnapshot, ThreadRunRequest, ThreadRunResult
from lockstitch.tool_policy import ToolPolicy

REQUEST = {"assistant_id": "asst_1", "thread_id": "thread_1"}
ASKED = [{"role": "user", "content": "Hello."}]


def refusal(**values: object) -> str:
    """Return the place and the reason of the first problem of a request."""
    with pytest.raises(ValidationError) as refused:
        ThreadRunRequest.model_validate(REQUEST | values)
    problem = refused.value.errors()[0]
    return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"


@pytest.mark.parametrize(
    ("values", "place", "reason"),
    [
        ({"messages": ASKED}, "", "give either the id of a thread or the messages of a new one"),
        ({"thread_id": None}, "", "give either the id of a thread or the messages of a new one"),
        ({"thread_id": ""}, "thread_id", "at least 1 character"),
        ({"assistant_id": None}, "assistant_id", "valid string"),
        ({"assistant_id": "a" * 65}, "assistant_id", "at most 64 characters"),
        ({"tenant": ""}, "tenant", "at least 1 character"),
        ({"tenant": "t" * 65}, "tenant", "at most 64 characters"),
        ({"backend": "carrier pigeon"}, "backend", "'local'"),
        ({"priority": 0}, "priority", "greater than or equal to 1"),
        ({"priority": 6}, "priority", "less than or equal to 5"),
        ({"temperature": 2.1}, "temperature", "less than or equal to 2"),
        ({"top_p": -0.1}, "top_p", "greater than or equal to 0"),
        ({"max_prompt_tokens": 0}, "max_prompt_tokens", "greater than or equal to 1"),
        ({"max_completion_tokens": 2**31}, "max_completion_tokens", "less than or equal to 2147483647"),
        ({"instructions": "x" * 256_001}, "instructions", "at most 256000 characters"),
        ({"metadata": {"k" * 65: "v"}}, f"metadata.{'k' * 65}.[key]", "at most 64 characters"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k", "at most 512 characters"),
        ({"metadata": {str(n): "v" for n in range(17)}}, "metadata", "at most 16 items"),
        ({"tools": [{"type": "abacus"}]}, "tools.0", "'code_interpreter'"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools.0.function.function.name", "pattern"),
        ({"tools": [{"type": "code_interpreter"}] * 129}, "tools", "at most 128 items"),
        ({"tool_choice": {"type": "function"}}, "tool_choice", ""),
        ({"truncation_strategy": {"type": "last_messages"}}, "truncation_strategy", "'last_messages' is missing"),
        ({"additional_messages": [{"role": "user", "content": ""}]}, "additional_messages.0", ""),
        ({"additional_messages": [{"role": "system", "content": "x"}]}, "additional_messages.0.role", "'user'"),
        ({"policy": {"deadline": 0}}, "policy.deadline", "greater than 0"),
        ({"policy": {"turn_timeout": -1}}, "policy.turn_timeout", "greater than 0"),
        ({"policy": {"heartbeat_timeout": 0}}, "policy.heartbeat_timeout", "greater than 0"),
        ({"policy": {"max_rounds": 0}}, "policy.max_rounds", "greater than or equal to 1"),
        ({"policy": {"upstream_attempts": 0}}, "policy.upstream_attempts", "greater than or equal to 1"),
        ({"policy": {"on_tool_failure": "panic"}}, "policy.on_tool_failure", "'error_output'"),
    ],
)
def test_a_bad_request_is_refused_with_the_place_and_the_reason(values, place, reason):
    said = refusal(**values)

    assert said.startswith(f"{place}: " if reason else place)
    assert reason in said


def models(module: object) -> list[type[BaseModel]]:
    found = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, BaseModel)]
    return [model for model in found if model is not BaseModel and model.__module__ == module.__name__]


# Fields that a message has had from the beginning and cannot do without. New fields need a default: a message that
# was written before the field existed must still be read.
REQUIRED = {
    "Answer": set(), "Decision": {"escalation_id", "action"},
    "Escalation": {"id", "run_id", "call_id", "tool", "reason", "detail", "opened_at", "deadline", "on_deadline"},
    "ReplaceRun": {"run", "request", "number", "reason"}, "UpstreamAttempt": {"upstream_id", "began_at"},
    "Attachment": {"file_id"}, "BuiltInTool": {"type"}, "CallFailure": {"call_id", "message"},
    "UseBuiltInTool": {"run", "call_id"}, "CallTool": {"run", "call_id", "name"},
    "CodeInterpreterParam": {"type"}, "EndRun": {"run", "status"},
    "FileSearchOptions": set(), "FileSearchParam": {"type"}, "FunctionDefinition": {"name"},
    "FunctionToolParam": {"type", "function"}, "HybridSearch": {"embedding_weight", "text_weight"},
    "RankingOptions": {"score_threshold"},
    "ImageFile": {"file_id"}, "ImageFilePart": {"type", "image_file"}, "ImageUrl": {"url"},
    "ImageUrlPart": {"type", "image_url"}, "JsonSchemaFormat": {"name"}, "LastError": {"code", "message"},
    "NamedFunction": {"name"}, "NamedToolChoice": {"type"}, "NewMessage": {"role", "content"},
    "PendingCall": {"call_id", "name"}, "RequestedCall": {"call_id", "name"}, "ResponseFormatObject": {"type"},
    "RunEvent": {"seq", "event", "data"}, "RunParameters": set(), "RunPolicy": set(),
    "RunRef": {"run_id", "thread_id", "assistant_id"}, "RunSnapshot": {"run_id", "status"},
    "RunStop": {"run", "status"}, "StartRun": {"run_id", "request"}, "SubmitToolOutputs": {"run", "turn"},
    "TextPart": {"type", "text"}, "ThreadRunRequest": {"assistant_id"}, "ThreadRunResult": {"run_id"},
    "ToolCallDone": {"call_id", "outcome", "attempts", "duration"},
    "ToolCallReport": {"call_id", "name", "outcome"}, "ToolOutput": {"tool_call_id", "output"},
    "ToolPolicy": set(), "TruncationStrategy": {"type"}, "Usage": set(),
}  # fmt: skip


@pytest.mark.parametrize(
    "model", [*models(contract), *models(escalations), *models(messages), ToolPolicy], ids=lambda model: model.__name__
)
def test_every_field_but_the_first_ones_has_a_default(model):
    fields = model.model_fields.items()
    required = {name for name, field in fields if field.default is PydanticUndefined and not field.default_factory}

    assert required == REQUIRED[model.__name__]


RUN = messages.RunRef(run_id="run_1", thread_id="thread_1", assistant_id="asst_1", tenant="acme", upstream_id="u")
ERROR = contract.LastError(code="server_error", message="gone")
FULL_REQUEST = ThreadRunRequest(
    assistant_id="asst_1",
    tenant="acme",
    priority=1,
    model="m",
    instructions="i",
    messages=[
        contract.NewMessage(role="user", content="Grüße 🚀\n\x00"),
        contract.NewMessage.model_validate(
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Look:"},
                    {"type": "image_url", "image_url": {"url": "http://x/y.png", "detail": "low"}},
                    {"type": "image_file", "image_file": {"file_id": "file-1"}},
                ],
                "attachments": [{"file_id": "file-1", "tools": [{"type": "file_search"}]}],
                "metadata": {"k": "v"},
            }
        ),
    ],
    tools=[
        {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": True}},
        {"type": "file_search", "file_search": {"max_num_results": 3}},
    ],
    tool_choice={"type": "function", "function": {"name": "f"}},
    response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}},
    truncation_strategy={"type": "last_messages", "last_messages": 3},
    policy=contract.RunPolicy(deadline=timedelta(seconds=0.25), on_tool_failure="fail_run"),
)
MESSAGES = [
    FULL_REQUEST,
    ThreadRunRequest(**REQUEST),
    contract.Answer(outputs=[{"tool_call_id": "call_1", "output": ""}], stored_call_ids=["call_2"]),
    RunEvent(seq=1, event="thread.created", data={"nested": [1, None, {"a": "\u2028"}]}, attempt=2),
    RunSnapshot(
        run_id="run_1",
        status="requires_action",
        pending_calls=[{"call_id": "call_1", "name": "f"}],
        started_at=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
    ),
    ThreadRunResult(
        run_id="run_1",
        status="failed",
        usage={"prompt_tokens": 1},
        last_error=ERROR,
        duration=timedelta(seconds=1, microseconds=5),
        tool_calls=[{"call_id": "c", "name": "f", "outcome": "failed", "duration": timedelta(milliseconds=7)}],
    ),
    messages.StartRun(run_id="run_1", request=FULL_REQUEST),
    messages.SubmitToolOutputs(
        run=RUN, turn=2, outputs=[{"tool_call_id": "c", "output": "o"}], failures=[{"call_id": "d", "message": "m"}]
    ),
    messages.EndRun(run=RUN, status="failed", last_error=ERROR),
    messages.RunStop(
        run=RUN,
        status="requires_action",
        calls=[{"call_id": "c", "name": "f", "policy": ToolPolicy(task_queue="slow"), "outcome": "answered"}],
        last_error=ERROR,
    ),
    messages.CallTool(run=RUN, call_id="c", name="f"),
    messages.UseBuiltInTool(run=RUN, call_id="c"),
    messages.ToolCallDone(call_id="c", outcome="succeeded", attempts=1, duration=timedelta(seconds=2), error="e"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
async def test_a_message_arrives_as_it_was_sent(temporal, message):
    """Through the converter that the starter and the worker use."""
    payloads = await temporal.data_converter.encode([message])
    [arrived] = await temporal.data_converter.decode(payloads, [type(message)])

    assert arrived == message


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_fields_of_a_newer_release_are_ignored(message):
    newer = message.model_dump(mode="json", by_alias=True) | {"field_of_the_future": {"x": 1}}

    assert type(message).model_validate(newer) == message


async def test_what_a_caller_left_alone_does_not_travel(temporal):
    given = ThreadRunRequest(**REQUEST, temperature=0)
    [payload] = await temporal.data_converter.encode([given])

    assert json.loads(payload.data) == REQUEST | {"temperature": 0}
