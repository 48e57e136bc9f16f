"""From Kubernetes' objects to stored rows, and from a changed object to the work that it concerns."""
