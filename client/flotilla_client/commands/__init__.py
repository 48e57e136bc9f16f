"""One module for each noun. Each command asks `session.Session` for the server, and shows what it says."""
