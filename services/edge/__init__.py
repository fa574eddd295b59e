"""The edge: the only place that knows OpenAI's shapes and HTTP."""
