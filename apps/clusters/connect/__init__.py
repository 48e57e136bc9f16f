"""How Flotilla connects to a cluster: submission and checks, permissions, and the objects that depend on it."""
