"""The notation of Kubernetes for values, for Flotilla and the local cluster alike. Pure; it depends on neither."""
