// The reference's sample of the Vercel AI SDK: `createOpenAI(…)("model")` speaks the Responses API.
import { createOpenAI } from "@ai-sdk/openai";
import { generateText } from "ai";

const tiermesh = createOpenAI({ baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY });

const result = await generateText({
  model: tiermesh(process.env.MODEL),
  system: "You are a helpful assistant.",
  prompt: "What is the capital of France?",
  temperature: 0,
});
const { text, finishReason, usage, warnings, response } = result;
console.log(JSON.stringify({ text, finishReason, usage, warnings, id: response.id }));
