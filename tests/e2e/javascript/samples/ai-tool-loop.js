// A tool loop: the first step must call, the SDK runs the tool and sends its result back, the second step answers.
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, isStepCount, tool } from "ai";
import { z } from "zod";

const tiermesh = createOpenAI({ baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY });
const cities = [];

const result = await generateText({
  model: tiermesh(process.env.MODEL),
  prompt: "What is the weather in Paris?",
  tools: {
    get_weather: tool({
      description: "Get the current weather for a city",
      inputSchema: z.object({ city: z.enum(["Paris", "London"]) }),
      execute: async ({ city }) => {
        cities.push(city);
        return { city, weather: "18 degrees and sunny" };
      },
    }),
  },
  prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? "required" : "none" }),
  stopWhen: isStepCount(2),
  providerOptions: { openai: { parallelToolCalls: false } },
  maxOutputTokens: 60,
  temperature: 0,
});
const steps = result.steps.map(({ finishReason, toolCalls, toolResults }) => ({ finishReason, toolCalls, toolResults }));
console.log(JSON.stringify({ cities, steps, text: result.text }));
