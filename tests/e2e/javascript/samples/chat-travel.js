// bytecompute's sample of a chat completion.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY });

const response = await client.chat.completions.create({
  model: process.env.MODEL,
  messages: [{ role: "user", content: "What are some fun things to do in New York?" }],
});
console.log(JSON.stringify(response));
