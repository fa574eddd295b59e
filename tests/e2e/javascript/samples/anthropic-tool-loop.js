// Anthropic's SDK: a streamed turn that calls a tool, the answer to its result, and an error of the SDK's own class.
import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({
  baseURL: process.env.BASE_URL.replace(/\/v1$/, ""),
  apiKey: process.env.API_KEY,
  maxRetries: 0,
});
const model = process.env.MODEL;
const tools = [
  {
    name: "get_weather",
    description: "Get the current weather for a city",
    input_schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
];
const messages = [{ role: "user", content: "What is the weather in Paris?" }];
const events = [];

const stream = client.messages.stream({ model, max_tokens: 200, messages, tools });
stream.on("streamEvent", (event) => events.push(event.type));
const first = await stream.finalMessage();
const call = first.content.find((block) => block.type === "tool_use");
messages.push(
  { role: "assistant", content: first.content },
  { role: "user", content: [{ type: "tool_result", tool_use_id: call.id, content: "18 degrees" }] },
);
const second = await client.messages.create({ model, max_tokens: 200, messages, tools });

let error;
try {
  await client.messages.create({ model: "nothing", max_tokens: 1, messages });
} catch (caught) {
  error = { name: caught.constructor.name, status: caught.status, type: caught.error.error.type };
}
console.log(JSON.stringify({ events, first, second, error }));
