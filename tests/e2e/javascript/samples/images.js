// bytecompute's sample of image generation. It says `client.images.create`, which no release of the SDK has: the method
// is called `generate`.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY });

const prompt = `
A children's book drawing of a veterinarian using a stethoscope to
listen to the heartbeat of a baby otter.
`;

const response = await client.images.generate({
  model: process.env.MODEL,
  prompt: prompt,
});

console.log(JSON.stringify({ url: response.data[0].url }));
