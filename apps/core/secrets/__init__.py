"""Secrets: credentials at rest, API tokens, and the values that may not reach a log."""
