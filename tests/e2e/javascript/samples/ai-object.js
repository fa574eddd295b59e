// Structured output with the Vercel AI SDK.
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, Output } from "ai";
import { z } from "zod";

const tiermesh = createOpenAI({ baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY });

const { output } = await generateText({
  model: tiermesh(process.env.MODEL),
  output: Output.object({ schema: z.object({ capital: z.enum(["Paris", "London"]), big: z.boolean() }) }),
  prompt: "What is the capital of France?",
  temperature: 0,
});
console.log(JSON.stringify(output));
