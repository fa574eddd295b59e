// createAgent of LangChain by the Responses API: thoughts, a call, and an answer of a given shape.
import { tool } from "@langchain/core/tools";
import { ChatOpenAI } from "@langchain/openai";
import { createAgent } from "langchain";
import { z } from "zod";

const getWeather = tool(({ city }) => `18 degrees in ${city}`, {
  name: "get_weather",
  description: "Get the current weather for a city.",
  schema: z.object({ city: z.string() }),
});
const model = new ChatOpenAI({
  model: process.env.MODEL,
  apiKey: process.env.API_KEY,
  configuration: { baseURL: process.env.BASE_URL },
  useResponsesApi: true,
  // LangChain shows only summaries of thoughts, and sends its own option `reasoning` to OpenAI's models only.
  modelKwargs: { reasoning: { summary: "auto" } },
  streaming: true,
});
const agent = createAgent({ model, tools: [getWeather] });
const { messages } = await agent.invoke({ messages: [{ role: "user", content: process.env.QUESTION }] });
console.log(
  JSON.stringify(
    messages.map((message) => ({
      type: message.getType(),
      text: message.text,
      blocks: message.contentBlocks,
      calls: message.tool_calls,
    })),
  ),
);
