"""flotilla, the command-line client. It speaks the public REST API and knows nothing else of the server."""
