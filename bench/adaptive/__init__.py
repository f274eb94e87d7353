"""Adaptive sampling in the builtin worlds, measured against their exact rewards."""
