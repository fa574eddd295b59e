"""tiermesh: an OpenAI-compatible inference service; one subpackage a service, `common` for what they share."""

import os

# grpcio reads these once, when it is first imported; whatever an operator has set stands. Without the event engine, the
# thread that waits for completions also reads the sockets, which saves two thread hand-overs a message: about half of
# the CPU time of a small frame. No process of the mesh forks after it has started.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_client,-event_engine_listener")
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
