"""POST /v1/completions, OpenAI's legacy endpoint for texts that are continued as they are."""
