// An agent as a graph: a model, its tools, and a memory of the conversation.
import { readFile, writeFile } from "node:fs/promises";
import { tool } from "@langchain/core/tools";
import { END, MemorySaver, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
import { ToolNode } from "@langchain/langgraph/prebuilt";
import { ChatOpenAI } from "@langchain/openai";
import { z } from "zod";

const readNote = tool(({ path }) => readFile(path, "utf8"), {
  name: "read_note",
  description: "Read a file.",
  schema: z.object({ path: z.string() }),
});
const writeNote = tool(({ path, text }) => writeFile(path, text).then(() => `wrote ${path}`), {
  name: "write_note",
  description: "Write a file.",
  schema: z.object({ path: z.string(), text: z.string() }),
});
const tools = [readNote, writeNote];
const model = new ChatOpenAI({
  model: process.env.MODEL,
  apiKey: process.env.API_KEY,
  configuration: { baseURL: process.env.BASE_URL },
  streamUsage: true,
}).bindTools(tools);

const graph = new StateGraph(MessagesAnnotation)
  .addNode("model", async ({ messages }) => ({ messages: [await model.invoke(messages)] }))
  .addNode("tools", new ToolNode(tools))
  .addEdge(START, "model")
  .addConditionalEdges("model", ({ messages }) => (messages.at(-1).tool_calls.length ? "tools" : END))
  .addEdge("tools", "model")
  .compile({ checkpointer: new MemorySaver() });

const thread = { configurable: { thread_id: "one" } };
const pieces = [];
for (const content of JSON.parse(process.env.QUESTIONS)) {
  const stream = await graph.stream(
    { messages: [{ role: "user", content }] },
    { ...thread, streamMode: "messages" },
  );
  for await (const [piece, { langgraph_node }] of stream) {
    if (langgraph_node === "model" && piece.content) pieces.push(piece.content);
  }
}
const { values } = await graph.getState(thread);
const answers = values.messages.filter((message) => message.getType() === "ai");
console.log(
  JSON.stringify({
    pieces,
    roles: values.messages.map((message) => message.getType()),
    texts: answers.map((message) => message.content),
    usage: answers.map((message) => message.usage_metadata),
  }),
);
