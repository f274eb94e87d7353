"""Stubs generated from proto/foresight/v1; do not edit."""
