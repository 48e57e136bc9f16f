"""Requests that fail while replicas are replaced, killed or lost: one local cluster with real processes."""
