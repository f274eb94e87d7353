"""Exact multiturn-aware rewards of the builtin worlds, to check the estimator against."""
