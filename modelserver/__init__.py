"""Flotilla's own model server, for deployments that name no image of their own."""
