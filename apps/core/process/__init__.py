"""Upkeep of long-lived processes, and their way to Redis."""
