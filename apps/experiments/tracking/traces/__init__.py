"""What traces are made of: spans as programs send them, what a trace says of itself by them, and how they are kept."""
