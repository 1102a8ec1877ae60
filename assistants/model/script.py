"""A model that does what a script file says, for tests, demonstrations and drills.

A script is a JSON array of turns. For each turn of a run the first entry that matches is done; entries are
used again and again, because runs are many and concurrent, unless ``times`` limits them::

    [
      {"when": "weather", "round": 0, "say": "Let me look.",
       "call": [{"name": "get_weather", "arguments": {"city": "Oslo"}}]},
      {"when": "weather", "round": 1, "say": "It is 7 degrees in Oslo.", "delta_delay_seconds": 0.02},
      {"when": "flaky", "say": "Here I am.",
       "fail": {"status": 503, "message": "Overloaded", "retry_after_seconds": 1, "after_deltas": 2,
                "times": 1}},
      {"when": "long", "say_words": 500},
      {"say": "I was cut", "finish": "length", "usage": {"prompt_tokens": 12, "completion_tokens": 3}}
    ]

When an entry matches:

``when``
    A text that the last user message has, whatever its case; without it, every message matches.
``round``
    How many tool rounds the run has had: 0 in its first turn; without it, every turn matches.
``times``
    How many turns the entry serves at most, counted over the life of the process.

What it does:

``say``, ``say_words``
    The text, streamed word by word; with ``say_words`` it is repeated (or made) to have so many words.
``call``
    Function calls, made together: ``name``, ``arguments`` (an object, or a string that is sent as it is,
    valid or not), ``call_id`` (else a new one each time).
``delay_seconds``, ``delta_delay_seconds``
    The time before the first event, and between events.
``fail``
    Fails after ``after_deltas`` (0) deltas, the first ``times`` (always) turns that the entry serves, and
    then no more: ``status`` (without one, the connection breaks), ``code``, ``message`` and
    ``retry_after_seconds``.
    Statuses 408, 409, 429, 5xx and a broken connection are worth another try.
``finish``
    ``length`` or ``content_filter`` instead of what the entry did.
``usage``
    The tokens to report instead of those that were counted.

A turn that no entry matches fails, and that is not worth another try.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import timedelta
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    TypeAdapter,
    ValidationError,
)

from lockstitch.assistants.model.call_ids import random_call_id
from lockstitch.assistants.model.tokens import count_prompt, count_tokens, load_vocabulary
from lockstitch.assistants.model.turn import (
    ArgumentsDelta,
    CallStarted,
    FinishReason,
    ModelEvent,
    ModelTurn,
    TextDelta,
    TurnFinished,
    Usage,
)
from lockstitch.assistants.model.wording import streamed_words
from lockstitch.errors import ModelScriptInvalid, UpstreamError

_CHUNK = 24
_FILLING = "A lockstitch is the one stitch in which a cut thread does not unravel."


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ScriptedCall(_Part):
    """A function call that a scripted turn makes."""

    name: str
    arguments: dict[str, Any] | str = Field(default_factory=dict)
    call_id: str | None = None

    @property
    def arguments_text(self) -> str:
        """The arguments as they are streamed."""
        given = self.arguments
        return given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)


class ScriptedFailure(_Part):
    """How a scripted turn fails; ``times`` is None for always."""

    status: int | None = Field(default=None, ge=400, le=599)
    code: str | None = None
    message: str = "The script says that this fails."
    retry_after_seconds: NonNegativeFloat | None = None
    after_deltas: NonNegativeInt = 0
    times: PositiveInt | None = None

    def error(self) -> UpstreamError:
        """The error to raise."""
        retryable = self.status is None or self.status in (408, 409, 429) or self.status >= 500
        code = "server_error" if retryable else "invalid_prompt"
        code = "rate_limit_exceeded" if self.status == 429 else code
        wait = self.retry_after_seconds
        return UpstreamError(
            self.message,
            status=self.status,
            code=self.code or code,
            retryable=retryable,
            retry_after=None if wait is None else timedelta(seconds=wait),
        )


class ScriptedUsage(_Part):
    """The tokens that a scripted turn reports."""

    prompt_tokens: NonNegativeInt = 0
    completion_tokens: NonNegativeInt = 0
    cached_tokens: NonNegativeInt = 0
    reasoning_tokens: NonNegativeInt = 0


class ScriptedTurn(_Part):
    """One entry of a script; the module's docstring says what each field does."""

    when: str | None = None
    round: NonNegativeInt | None = None
    times: PositiveInt | None = None
    say: str = ""
    say_words: PositiveInt | None = None
    call: tuple[ScriptedCall, ...] = ()
    delay_seconds: NonNegativeFloat = 0
    delta_delay_seconds: NonNegativeFloat = 0
    fail: ScriptedFailure | None = None
    finish: Literal["length", "content_filter"] | None = None
    usage: ScriptedUsage | None = None

    def matches(self, turn: ModelTurn) -> bool:
        """Whether the entry is for this turn, as far as the turn tells."""
        is_round = self.round is None or self.round == len(turn.rounds)
        return is_round and (self.when is None or self.when.lower() in turn.last_user_text.lower())

    @property
    def text(self) -> str:
        """Everything that the entry says."""
        if self.say_words is None:
            return self.say
        return " ".join(islice(cycle((self.say or _FILLING).split() or ["..."]), self.say_words))

    @property
    def reason(self) -> FinishReason:
        """Why the turn ends."""
        return self.finish or ("tool_calls" if self.call else "stop")

    def failure(self, served: int) -> ScriptedFailure | None:
        """How the turn fails after the entry has served so many."""
        fails = self.fail is not None and (self.fail.times is None or served < self.fail.times)
        return self.fail if fails else None

    def used(self, turn: ModelTurn) -> Usage:
        """The tokens that are reported."""
        if self.usage:
            return Usage(**self.usage.model_dump())
        said = [self.text, *(text for call in self.call for text in (call.name, call.arguments_text))]
        return Usage(count_prompt(turn), sum(count_tokens(text) for text in said))


_SCRIPT = TypeAdapter(list[ScriptedTurn])


class ScriptedModel:
    """A `Model` that does what a script says."""

    name = "offline"

    def __init__(
        self,
        script: Sequence[ScriptedTurn | dict[str, Any]],
        *,
        source: str = "given in code",
        new_call_id: Callable[[], str] = random_call_id,
    ) -> None:
        """Take a script; `ModelScriptInvalid` says where it is wrong, ``source`` names it."""
        try:
            self._turns = _SCRIPT.validate_python(list(script))
        except ValidationError as error:
            raise ModelScriptInvalid(source, _problems(error)) from error
        self._source = source
        self._new_call_id = new_call_id
        self._served = [0] * len(self._turns)
        load_vocabulary()

    @classmethod
    def from_file(cls, path: str | Path) -> "ScriptedModel":
        """Read a script; `ModelScriptInvalid` says where it is wrong."""
        try:
            script = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise ModelScriptInvalid(str(path), error.strerror or str(error)) from error
        except ValueError as error:
            raise ModelScriptInvalid(str(path), f"it is not JSON: {error}") from error
        if not isinstance(script, list):
            raise ModelScriptInvalid(str(path), "it must be a JSON array of turns")
        return cls(script, source=str(path))

    def __repr__(self) -> str:
        return f"ScriptedModel({self._source!r}, entries={len(self._turns)}, served={sum(self._served)})"

    async def stream(self, turn: ModelTurn) -> AsyncIterator[ModelEvent]:
        """Do what the first matching entry says."""
        entry, served = self._next(turn)
        failure = entry.failure(served)
        await asyncio.sleep(entry.delay_seconds)
        deltas = 0
        for event in self._events(entry):
            if failure and deltas >= failure.after_deltas:
                break
            if deltas:
                await asyncio.sleep(entry.delta_delay_seconds)
            yield event
            deltas += not isinstance(event, CallStarted)
        if failure:
            raise failure.error()
        yield TurnFinished(entry.reason, entry.used(turn))

    async def aclose(self) -> None:
        """Nothing is held."""

    def _next(self, turn: ModelTurn) -> tuple[ScriptedTurn, int]:
        """The entry for a turn, and how many turns it served before."""
        for place, entry in enumerate(self._turns):
            served = self._served[place]
            if entry.matches(turn) and (entry.times is None or served < entry.times):
                self._served[place] += 1
                return entry, served
        raise UpstreamError(
            f"The model script {self._source!r} has no turn for this message in round {len(turn.rounds)}.",
            code="invalid_prompt",
            status=400,
            retryable=False,
        )

    def _events(self, entry: ScriptedTurn) -> Iterator[ModelEvent]:
        for word in streamed_words(entry.text):
            yield TextDelta(word)
        for index, call in enumerate(entry.call):
            yield CallStarted(index, call.call_id or self._new_call_id(), call.name)
            arguments = call.arguments_text
            for start in range(0, len(arguments), _CHUNK):
                yield ArgumentsDelta(index, arguments[start : start + _CHUNK])


def _problems(error: ValidationError) -> str:
    """Every problem with its place, such as ``[2].call[0].argument: unknown field``."""
    problems = []
    for found in error.errors(include_url=False):
        place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in found["loc"])
        what = "unknown field" if found["type"] == "extra_forbidden" else found["msg"]
        problems.append(f"{place}: {what}")
    return "; ".join(problems)
