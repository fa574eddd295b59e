"""tiermesh: an OpenAI-compatible inference service; one subpackage a service, `common` for what they share."""
