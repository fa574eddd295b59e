"""What lies between OpenAI's messages and a model's text, shared by every engine."""
