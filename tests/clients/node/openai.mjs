// The official SDK for JavaScript against a running server: `node openai.mjs openai-4`.
import assert from "node:assert/strict";

const { default: OpenAI, toFile, NotFoundError, BadRequestError } = await import(process.argv[2]);
const client = new OpenAI({ maxRetries: 0 });
const { assistants, threads } = client.beta;
const weather = {
  type: "function",
  function: {
    name: "get_weather",
    description: "The weather of a city",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};
// Version 4 takes the ids of a path one after the other, later versions take the last one and an object.
const isOld = process.argv[2].endsWith("4");
const at = (threadId, id) => (isOld ? [threadId, id] : [id, { thread_id: threadId }]);
const withBody = (threadId, id, body) => (isOld ? [threadId, id, body] : [id, { thread_id: threadId, ...body }]);
const remove = (resource, ...ids) => (isOld ? resource.del(...ids) : resource.delete(...ids));
const outputsOf = (run) =>
  run.required_action.submit_tool_outputs.tool_calls.map((call) => ({ tool_call_id: call.id, output: "7 C" }));

async function assistantsAreKept() {
  const made = await assistants.create({ model: "offline", name: "Helper", tools: [weather], metadata: { a: "b" } });
  const changed = await assistants.update(made.id, { instructions: "Be brief.", temperature: 0.5 });
  assert.equal(changed.temperature, 0.5);
  const listed = [];
  for await (const found of assistants.list({ limit: 1 })) listed.push(found.id);
  assert.ok(listed.includes(made.id));
  return made.id;
}

async function filesComeBack() {
  const file = await client.files.create({ file: await toFile(Buffer.from("hello"), "a.txt"), purpose: "assistants" });
  assert.equal(await (await client.files.content(file.id)).text(), "hello");
  assert.equal((await client.files.retrieve(file.id)).bytes, 5);
  assert.equal((await remove(client.files, file.id)).deleted, true);
}

async function runsArePolled(assistantId) {
  const thread = await threads.create({ messages: [{ role: "user", content: "Hello" }] });
  const run = await threads.runs.createAndPoll(thread.id, { assistant_id: assistantId });
  assert.equal(run.status, "completed");
  const messages = await threads.messages.list(thread.id, { run_id: run.id });
  assert.match(messages.data[0].content[0].text.value, /^Offline model/);
  const steps = isOld
    ? await threads.runs.steps.list(thread.id, run.id)
    : await threads.runs.steps.list(run.id, { thread_id: thread.id });
  assert.deepEqual(steps.data.map((step) => step.type), ["message_creation"]);
  assert.equal((await remove(threads, thread.id)).deleted, true);
  await assert.rejects(threads.retrieve(thread.id), NotFoundError);
}

async function runsAreAnsweredAndPolled(assistantId) {
  const question = { messages: [{ role: "user", content: "What is the weather in Oslo?" }] };
  const run = await threads.createAndRunPoll({ assistant_id: assistantId, thread: question });
  assert.equal(run.status, "requires_action");
  const body = { tool_outputs: outputsOf(run) };
  await assert.rejects(
    threads.runs.submitToolOutputs(...withBody(run.thread_id, run.id, { tool_outputs: [] })),
    BadRequestError,
  );
  const done = await threads.runs.submitToolOutputsAndPoll(...withBody(run.thread_id, run.id, body));
  assert.equal(done.status, "completed");
  assert.ok(done.usage.total_tokens > 0);
}

async function runsAreStreamed(assistantId) {
  const thread = await threads.create({ messages: [{ role: "user", content: "What is the weather in Oslo?" }] });
  const heard = { arguments: "", text: "" };
  const stream = threads.runs.stream(thread.id, { assistant_id: assistantId });
  stream.on("toolCallDelta", (delta) => (heard.arguments += delta.function.arguments ?? ""));
  const asking = await stream.finalRun();
  assert.equal(asking.status, "requires_action");
  assert.equal(JSON.parse(heard.arguments).city, "Oslo");

  const body = { tool_outputs: outputsOf(asking) };
  const answered = threads.runs.submitToolOutputsStream(...withBody(thread.id, asking.id, body));
  answered.on("textDelta", (delta) => (heard.text += delta.value));
  const [message] = await answered.finalMessages();
  assert.equal(message.content[0].text.value, heard.text);
  assert.match(heard.text, /7 C/);
  assert.equal((await answered.finalRunSteps()).at(-1).status, "completed");
}

async function runsAreCancelled(assistantId) {
  const thread = await threads.create({ messages: [{ role: "user", content: "What is the weather in Oslo?" }] });
  const run = await threads.runs.createAndPoll(thread.id, { assistant_id: assistantId });
  assert.equal((await threads.runs.cancel(...at(thread.id, run.id))).status, "cancelling");
  assert.equal((await threads.runs.poll(...at(thread.id, run.id))).status, "cancelled");
}

const assistantId = await assistantsAreKept();
await filesComeBack();
await runsArePolled(assistantId);
await runsAreAnsweredAndPolled(assistantId);
await runsAreStreamed(assistantId);
await runsAreCancelled(assistantId);
assert.equal((await remove(assistants, assistantId)).deleted, true);
console.log(`${process.argv[2]}: everything went as it should`);
