// Compiles TestUsd.sol by solc's own WebAssembly, without any download, and prints the content of token.json.
import { readFileSync } from "node:fs";
import solc from "solc";

const source = readFileSync(new URL("../../../services/cli/chain/token/TestUsd.sol", import.meta.url), "utf8");
const input = {
  language: "Solidity",
  sources: { "TestUsd.sol": { content: source } },
  settings: {
    optimizer: { enabled: true, runs: 200 },
    evmVersion: "cancun",
    metadata: { bytecodeHash: "none", appendCBOR: false },
    outputSelection: { "*": { "*": ["evm.bytecode.object"] } },
  },
};
const output = JSON.parse(solc.compile(JSON.stringify(input)));
for (const error of output.errors ?? []) console.error(error.formattedMessage);
console.log(JSON.stringify({ bytecode: "0x" + output.contracts["TestUsd.sol"].TestUsd.evm.bytecode.object }));
