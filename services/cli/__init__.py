"""The `tiermesh` command: a whole mesh on one machine, and the management of any mesh."""

import os

# grpcio reads it when it is first imported. On a terminal, what it writes by itself about each failed handshake stands
# between the lines that say the same in words.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
