// How an error of the service reaches a program.
import { ChatOpenAI } from "@langchain/openai";

const model = new ChatOpenAI({
  model: process.env.MODEL,
  apiKey: process.env.API_KEY,
  configuration: { baseURL: process.env.BASE_URL },
});
try {
  await model.invoke("Hello");
} catch (error) {
  console.log(JSON.stringify({ name: error.name, status: error.status, message: error.message }));
}
