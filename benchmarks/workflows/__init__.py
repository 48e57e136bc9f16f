"""Pipelines: what a decision costs. `make bench NAME=workflows`."""
