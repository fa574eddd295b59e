// Streams a response with a structured answer, and has the SDK put the events together.
import OpenAI from "openai";
import { zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY });
const Reply = z.object({ capital: z.enum(["Paris", "London"]), sure: z.boolean() });

const stream = client.responses.stream({
  model: process.env.MODEL,
  instructions: "You are a helpful assistant.",
  input: "What is the capital of France?",
  text: { format: zodTextFormat(Reply, "reply") },
  temperature: 0,
});
const types = [];
for await (const event of stream) types.push(event.type);
const response = await stream.finalResponse();
console.log(JSON.stringify({ types, parsed: response.output_parsed, response }));
