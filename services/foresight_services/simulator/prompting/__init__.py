"""Prompts that turn language models into the simulated user and into the policy."""
