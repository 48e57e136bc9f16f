"""Upkeep of long-lived processes."""
