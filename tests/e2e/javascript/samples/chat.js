// c0mpute's sample for Node.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY });

const resp = await client.chat.completions.create({
  model: process.env.MODEL,
  messages: [{ role: "user", content: "Hello!" }],
});
console.log(JSON.stringify(resp));
