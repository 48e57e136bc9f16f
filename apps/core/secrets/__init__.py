"""What is secret: credentials at rest, API tokens, and what may not reach a log."""
