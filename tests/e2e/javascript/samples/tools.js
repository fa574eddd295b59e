// bytecompute's sample of function calling, which calls its client `openai`, but defines `client`. OPTIONS adds to it.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY });

const tools = [
  {
    type: "function",
    function: {
      name: "get_weather",
      description: "Get current temperature for a given location.",
      parameters: {
        type: "object",
        properties: {
          location: { type: "string", description: "City and country e.g. Bogotá, Colombia" },
        },
        required: ["location"],
        additionalProperties: false,
      },
      strict: true,
    },
  },
];

const completion = await client.chat.completions.create({
  model: process.env.MODEL,
  messages: [{ role: "user", content: "What is the weather like in Paris today?" }],
  tools,
  store: true,
  ...JSON.parse(process.env.OPTIONS),
});

console.log(JSON.stringify(completion.choices[0]));
