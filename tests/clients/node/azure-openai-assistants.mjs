// Azure's own client of the first preview (@azure/openai-assistants): no beta header, camel case.
import assert from "node:assert/strict";
import { AssistantsClient, AzureKeyCredential } from "@azure/openai-assistants";

const server = process.env.OPENAI_BASE_URL.replace(/\/v1$/, "");
const client = new AssistantsClient(server, new AzureKeyCredential("any"), { allowInsecureConnection: true });
const weather = {
  type: "function",
  function: {
    name: "get_weather",
    description: "The weather of a city",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};

async function ended(threadId, runId) {
  for (;;) {
    const run = await client.getRun(threadId, runId);
    if (!["queued", "in_progress"].includes(run.status)) return run;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

const assistant = await client.createAssistant({ model: "offline", name: "Helper", tools: [weather] });
const thread = await client.createThread({});
await client.createMessage(thread.id, "user", "What is the weather in Oslo?");
let run = await client.createRun(thread.id, { assistantId: assistant.id });
run = await ended(thread.id, run.id);
assert.equal(run.status, "requires_action");
await client.submitToolOutputsToRun(
  thread.id,
  run.id,
  run.requiredAction.submitToolOutputs.toolCalls.map((call) => ({ toolCallId: call.id, output: "7 C" })),
);
assert.equal((await ended(thread.id, run.id)).status, "completed");
const messages = await client.listMessages(thread.id);
assert.match(messages.data[0].content[0].text.value, /7 C/);
await client.deleteThread(thread.id);
await client.deleteAssistant(assistant.id);
console.log("@azure/openai-assistants: everything went as it should");
