// Pays by wallet with the official client of version 1 of x402.
import { privateKeyToAccount } from "viem/accounts";
import { wrapFetchWithPayment } from "x402-fetch";

const paying = wrapFetchWithPayment(fetch, privateKeyToAccount(process.env.PRIVATE_KEY));

// It loses the headers of OpenAI's SDK, which are no plain object.
const ask = (more) =>
  paying(`${process.env.BASE_URL}/chat/completions`, {
    method: "POST",
    headers: { Authorization: `Bearer ${process.env.API_KEY}`, "Content-Type": "application/json" },
    body: JSON.stringify({
      model: process.env.MODEL,
      messages: [{ role: "user", content: "Name a colour." }],
      max_tokens: 5,
      ...more,
    }),
  });

const response = await ask({});
const { choices } = await response.json();

const stream = await ask({ stream: true, stream_options: { include_usage: true } });
const events = (await stream.text()).split("\n").filter((line) => line.startsWith("data: {"));
const chunks = events.map((line) => JSON.parse(line.slice("data: ".length)));

console.log(
  JSON.stringify({
    whole: choices[0].message.content,
    paid: response.headers.get("x-payment-response"),
    streamed: chunks.map((chunk) => chunk.choices[0]?.delta?.content ?? "").join(""),
    charged: chunks.at(-1).tiermesh,
  }),
);
