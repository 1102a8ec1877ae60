"""Answers are held to the response format of the run, whatever the model or the endpoint makes of it."""

import json
from datetime import timedelta
from typing import Any, Literal

import pytest

from lockstitch.activities.backends.metered import MISFITS, metered_turn
from lockstitch.assistants.model.answer_format import formatted_turn
from lockstitch.assistants.model.endpoint import OpenAIEndpoint
from lockstitch.assistants.model.offline import OfflineModel
from lockstitch.assistants.model.script import ScriptedModel
from lockstitch.assistants.model.turn import ImagePart, Message, Model, ModelEvent, ModelTurn, TextDelta, TurnFinished
from lockstitch.errors import UpstreamError
from lockstitch.starter.contract import JsonSchemaFormat, ResponseFormatObject
from lockstitch.testing.model_endpoint import model_endpoint_app, serve

SCORE = {"type": "object", "properties": {"score": {"type": "integer"}}, "required": ["score"]}
FITTING = '{"score": 9}'


def form(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema}}


def turn(wanted: Any, **settings: Any) -> ModelTurn:
    return ModelTurn("m", "", (Message("user", ("Rate it",)),), response_format=wanted, **settings)


async def take(model: Model, asked: ModelTurn, attempt: int = 1) -> list[ModelEvent]:
    return [event async for event in metered_turn(model, asked, "local", attempt)]


def says(text: str, **more: Any) -> ScriptedModel:
    return ScriptedModel([{"say": text, **more}])


@pytest.mark.parametrize(
    ("wanted", "answer"),
    [
        (form(SCORE), FITTING),
        (form(SCORE), f"\n {FITTING} "),
        ({"type": "json_schema", "json_schema": {"name": "reply"}}, "3"),
        ({"type": "json_object"}, "{}"),
        ({"type": "text"}, "Nine."),
        ("auto", "Nine."),
    ],
)
async def test_an_answer_that_fits_is_an_answer(wanted: Any, answer: str) -> None:
    events = await take(says(answer), turn(wanted))

    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == answer
    assert isinstance(events[-1], TurnFinished)


@pytest.mark.parametrize(
    ("wanted", "answer", "problem"),
    [
        (form(SCORE), "Nine.", "it is not JSON"),
        (form(SCORE), '{"score": "nine"}', 'score: "nine" is not of type "integer"'),
        (form({"type": "array", "items": SCORE}), '[{"score": 1}, {}]', r'\[1\]: "score" is a required property'),
        ({"type": "json_object"}, "[]", r'the answer: \[\] is not of type "object"'),
    ],
)
async def test_one_that_does_not_fit_is_asked_for_again_a_few_times(wanted: Any, answer: str, problem: str) -> None:
    for attempt in range(1, MISFITS + 1):
        with pytest.raises(UpstreamError, match=f"does not fit the response_format: {problem}") as caught:
            await take(says(answer), turn(wanted), attempt)
        assert caught.value.retryable is (attempt < MISFITS)


@pytest.mark.parametrize("api", ["responses", "chat"])
async def test_an_endpoint_that_ignores_the_format_is_found_out(api: Literal["responses", "chat"]) -> None:
    async with serve(model_endpoint_app(says("Nine."))) as origin:
        endpoint = OpenAIEndpoint(base_url=f"{origin}/v1", api_key="any", api=api, timeout=timedelta(seconds=10))
        with pytest.raises(UpstreamError, match="does not fit the response_format: it is not JSON"):
            await take(endpoint, turn(form(SCORE)))
        await endpoint.aclose()


@pytest.mark.parametrize("more", [{"finish": "length"}, {"finish": "content_filter"}, {"call": [{"name": "f"}]}])
async def test_what_is_no_finished_answer_is_not_held_to_the_format(more: Any) -> None:
    events = await take(says("Let me look", **more), turn(form(SCORE)))

    assert isinstance(events[-1], TurnFinished)


async def test_a_refusal_has_no_form() -> None:
    class Refusing(ScriptedModel):
        async def stream(self, asked: ModelTurn) -> Any:
            yield TextDelta("I will not.")
            yield TurnFinished("stop", refused=True)

    assert len(await take(Refusing([]), turn(form(SCORE)))) == 2


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"type": "strange"}, '"strange" is not valid'),
        ({"$ref": "http://127.0.0.1:9/schema"}, "Retrieval is disabled"),
        ({"$ref": "#/$defs/missing"}, "does not exist"),
        ({"type": "string", "pattern": "("}, 'is not a "regex"'),
    ],
)
async def test_a_schema_that_is_none_is_refused_before_the_model_is_asked(schema: Any, problem: str) -> None:
    model = says("x")
    with pytest.raises(UpstreamError, match=f"cannot be used: .*{problem}") as caught:
        await take(model, turn(form(schema)))

    assert (caught.value.code, caught.value.retryable) == ("invalid_prompt", False)
    assert repr(model).endswith("served=0)")


async def test_a_pattern_that_takes_for_ever_is_given_up() -> None:
    schema = {"type": "string", "pattern": "^(?=a)(a+)+$"}
    answer = json.dumps("a" * 5000 + "!")

    with pytest.raises(UpstreamError, match="does not fit"):
        await take(says(answer), turn(form(schema)))


async def test_the_offline_model_keeps_to_the_schema_or_the_turn_fails() -> None:
    asked = turn(form({"type": "object", "properties": {"code": {"type": "string", "pattern": "^[0-9]{6}$"}},
                       "required": ["code"]}))  # fmt: skip

    assert await take(OfflineModel(), turn(form(SCORE)))
    with pytest.raises(UpstreamError, match="does not fit the response_format: code: "):
        await take(OfflineModel(), asked)


async def test_a_turn_that_is_given_up_is_given_up_by_the_model() -> None:
    events = formatted_turn(says("{ }"), turn({"type": "json_object"}), may_try_again=True)
    assert await anext(events) == TextDelta("{ ")
    await events.aclose()

    with pytest.raises(StopAsyncIteration):
        await anext(events)


async def test_the_offline_model_says_that_it_cannot_see_images() -> None:
    seen, hello = Message("user", ("What is this?", ImagePart("https://example.com/a.png"))), Message("user", ("Hi",))
    *words, _ = await take(OfflineModel(), ModelTurn("offline", "", (seen,)))
    *of_none, _ = await take(OfflineModel(), ModelTurn("offline", "", (hello, seen, hello)))

    assert "".join(word.text for word in words if isinstance(word, TextDelta)).endswith("It cannot see images.")
    assert "images" not in "".join(word.text for word in of_none if isinstance(word, TextDelta))


async def test_a_run_whose_model_gives_another_form_tries_again_and_then_fails_with_the_reason(engine: Any) -> None:
    """One run gets the right form at the second attempt, another one never."""
    schema = JsonSchemaFormat.model_validate({"name": "reply", "schema": SCORE})
    wanted = ResponseFormatObject(type="json_schema", json_schema=schema)
    script = [{"when": "once", "say": "Nine.", "times": 1}, {"when": "once", "say": FITTING}, {"say": "Nine."}]

    async with engine(model=ScriptedModel(script)) as up:
        once, never = [
            await up.starter.start(await up.request(said, response_format=wanted)) for said in ("once", "never")
        ]
        results = [await up.starter.result(run_id) for run_id in (once, never)]

    assert [result.status for result in results] == ["completed", "failed"]
    assert results[0].last_message_text == FITTING
    assert "The model's answer does not fit the response_format: it is not JSON" in results[1].last_error.message
