"""How Kubernetes writes values, for Flotilla and for the local cluster alike. Pure; knows nothing of either."""
