"""What a model version can do, and who serves it."""
