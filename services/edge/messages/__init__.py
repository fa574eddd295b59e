"""POST /v1/messages: Anthropic's Messages API, translated onto the path of chat completions."""
