"""The Kubernetes REST API over ASGI."""
