"""POST /v1/responses: OpenAI's newer endpoint, translated onto the path of chat completions."""
