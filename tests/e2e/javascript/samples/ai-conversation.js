// Two turns. The SDK would refer to its earlier answer by id, which OpenAI has kept; `store: false` makes it send the
// words themselves.
import { createOpenAI } from "@ai-sdk/openai";
import { generateText } from "ai";

const tiermesh = createOpenAI({ baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY });
const settings = {
  model: tiermesh(process.env.MODEL),
  system: "You are a helpful assistant.",
  temperature: 0,
  maxOutputTokens: 16,
  providerOptions: { openai: { store: false } },
};

const messages = [{ role: "user", content: "What is the capital of France?" }];
const first = await generateText({ ...settings, messages });
messages.push(...first.response.messages, { role: "user", content: "And of Germany?" });
const second = await generateText({ ...settings, messages });
console.log(JSON.stringify([first, second].map(({ text, usage }) => ({ text, usage }))));
