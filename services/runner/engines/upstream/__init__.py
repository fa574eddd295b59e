"""The engine in front of a server that speaks OpenAI's API already: llama-server, vLLM, SGLang and others."""
