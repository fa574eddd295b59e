"""GET /v1/models: what is for sale, in OpenAI's shape or in Anthropic's."""
