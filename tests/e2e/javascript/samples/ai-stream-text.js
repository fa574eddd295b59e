// The same as a stream.
import { createOpenAI } from "@ai-sdk/openai";
import { streamText } from "ai";

const tiermesh = createOpenAI({ baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY });

const result = streamText({
  model: tiermesh(process.env.MODEL),
  system: "You are a helpful assistant.",
  prompt: "What is the capital of France?",
  temperature: 0,
  onError({ error }) {
    throw error;
  },
});
const deltas = [];
for await (const delta of result.textStream) deltas.push(delta);
console.log(JSON.stringify({ deltas, finishReason: await result.finishReason, usage: await result.usage }));
