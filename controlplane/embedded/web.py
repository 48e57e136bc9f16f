"""A web process of the embedded default: uvicorn on a socket that the supervisor holds open, and that all share.

While a killed web process is started again, connections queue on that socket instead of being refused.
"""

import argparse
import socket

import uvicorn

# Event streams never end by themselves: after this many seconds they are closed.
GRACEFUL_SHUTDOWN_S = 2


def main() -> None:
    """Serve `controlplane.asgi` until SIGTERM."""
    parser = argparse.ArgumentParser(description="Serve Flotilla on an inherited listening socket.")
    parser.add_argument("--fd", type=int, required=True, help="file descriptor of the listening socket")
    listener = socket.socket(fileno=parser.parse_args().fd)
    config = uvicorn.Config(
        "controlplane.asgi:application",
        lifespan="off",
        access_log=False,
        log_level="info",
        timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_S,
        timeout_keep_alive=30,
        server_header=False,
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
