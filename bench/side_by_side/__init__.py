"""Foresight beside the reference, CollabLLM 0.0.8: time, CPU, calls, memory on one model server."""

import os

# Read when gRPC is imported: else it tells of every process that is started beside an open channel.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
