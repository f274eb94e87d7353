"""Foresight beside the reference, CollabLLM 0.0.8: the same prompts, scores and MR."""
