"""Foresight beside the reference, CollabLLM 0.0.8: time, CPU, calls, memory on one model server."""
