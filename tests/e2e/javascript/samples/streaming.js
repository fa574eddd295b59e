// bytecompute's sample of a streamed chat completion.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY });

const stream = await client.chat.completions.create({
  model: process.env.MODEL,
  messages: [
    { role: "system", content: "You are an AI assistant" },
    { role: "user", content: "Who won the world series in 2020?" },
  ],
  stream: true,
});

let text = "";
let chunks = 0;
for await (const chunk of stream) {
  text += chunk.choices[0]?.delta?.content || "";
  chunks += 1;
}
console.log(JSON.stringify({ text, chunks }));
