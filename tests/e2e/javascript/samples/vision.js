// bytecompute's sample of vision. It calls its client `openai`, but defines `client`.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY });

const response = await client.chat.completions.create({
  model: process.env.MODEL,
  messages: [
    {
      role: "user",
      content: [
        { type: "text", text: "What is in this image?" },
        { type: "image_url", image_url: { url: process.env.IMAGE_URL } },
      ],
    },
  ],
});

console.log(JSON.stringify(response));
