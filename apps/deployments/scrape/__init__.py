"""What replicas say of their requests: metrics in Prometheus' text format, read from the replicas themselves."""
