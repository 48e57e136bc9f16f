"""Text and names, in and out. Pure."""
