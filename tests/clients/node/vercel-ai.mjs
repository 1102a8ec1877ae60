// The Vercel AI SDK's AssistantResponse over a stream of the official SDK.
import assert from "node:assert/strict";
import { AssistantResponse } from "ai";
import OpenAI from "openai-4";

const { assistants, threads } = new OpenAI({ maxRetries: 0 }).beta;
const weather = { type: "function", function: { name: "get_weather", description: "The weather of a city" } };
const assistant = await assistants.create({ model: "offline", tools: [weather] });
const thread = await threads.create();
const asked = await threads.messages.create(thread.id, { role: "user", content: "What is the weather?" });
const response = AssistantResponse({ threadId: thread.id, messageId: asked.id }, async ({ forwardStream }) => {
  let run = await forwardStream(threads.runs.stream(thread.id, { assistant_id: assistant.id }));
  while (run?.status === "requires_action") {
    const calls = run.required_action.submit_tool_outputs.tool_calls;
    const outputs = { tool_outputs: calls.map((call) => ({ tool_call_id: call.id, output: "7 C" })) };
    run = await forwardStream(threads.runs.submitToolOutputsStream(thread.id, run.id, outputs));
  }
});
const said = await response.text();
const text = said.split("\n").filter((line) => line.startsWith("0:")).map((line) => JSON.parse(line.slice(2))).join("");
assert.match(text, /7 C/, said);
console.log("ai: everything went as it should");
