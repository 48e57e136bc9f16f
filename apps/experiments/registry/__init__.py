"""The abilities of a model version, and the deployments that serve it."""
