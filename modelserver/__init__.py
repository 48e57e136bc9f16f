"""Flotilla's own model server: what the replicas of a deployment run that names no image of its own."""
