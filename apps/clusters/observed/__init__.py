"""What is seen on clusters: from Kubernetes' objects to the rows that are stored, and who is concerned by a change."""
