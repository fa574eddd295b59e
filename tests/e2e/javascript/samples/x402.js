// Pays by wallet: the official x402 client around OpenAI's SDK.
import { wrapFetchWithPaymentFromConfig } from "@x402/fetch";
import { ExactEvmScheme } from "@x402/evm";
import OpenAI from "openai";
import { privateKeyToAccount } from "viem/accounts";

const wallet = new ExactEvmScheme(privateKeyToAccount(process.env.PRIVATE_KEY));
const paying = wrapFetchWithPaymentFromConfig(fetch, { schemes: [{ network: "eip155:8453", client: wallet }] });
const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY, fetch: paying, maxRetries: 0 });
const asked = { model: process.env.MODEL, messages: [{ role: "user", content: "Name a colour." }], max_tokens: 5 };

const { data, response } = await client.chat.completions.create(asked).withResponse();

const stream = await client.chat.completions.create({ ...asked, stream: true, stream_options: { include_usage: true } });
let streamed = "";
let charged = null;
for await (const chunk of stream) {
  streamed += chunk.choices[0]?.delta?.content ?? "";
  charged = chunk.tiermesh ?? charged;
}

console.log(
  JSON.stringify({
    whole: data.choices[0].message.content,
    paid: response.headers.get("payment-response"),
    streamed,
    charged,
  }),
);
