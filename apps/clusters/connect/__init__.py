"""How Flotilla comes to a cluster: what is submitted and checked, what it may do there, and what depends on it."""
