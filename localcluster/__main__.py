"""``python -m localcluster``: run a local cluster in the foreground until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from localcluster.config import ClusterConfig, default_nodes, hollow_nodes
from localcluster.kubelet import ImageError
from localcluster.server import ClusterError, run_cluster


def parse(arguments: list[str]) -> ClusterConfig:
    """Read the command line; argparse exits with a message when it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m localcluster", description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True, help="state, credentials, kubeconfig and logs go here")
    parser.add_argument("--port", type=int, default=6443, help="of the API on --host; 0 takes a free one")
    parser.add_argument("--host", default="127.0.0.1", help="the IP address to listen on")
    parser.add_argument(
        "--images",
        type=Path,
        action="append",
        default=[],
        help="a TOML file that names further images; may be repeated",
    )
    parser.add_argument("--hollow", action="store_true", help="pods only pretend to run")
    parser.add_argument(
        "--nodes-named", default="local", metavar="NAME", help='what its nodes are called: "NAME-cpu-1" and so on'
    )
    parser.add_argument("--hollow-nodes", type=int, metavar="N", help="that many big nodes (with --hollow)")
    parser.add_argument("--faults", action="store_true", help="let tests switch faults on (/localcluster/faults)")
    parser.add_argument(
        "--node-grace-seconds", type=float, default=50.0, metavar="S", help="a silent node is Unknown after S seconds"
    )
    parser.add_argument("--no-gateway", action="store_true", help="leave the Gateway API out, as on a plain cluster")
    parser.add_argument(
        "--autoscaler-seconds", type=float, default=15.0, metavar="S", help="autoscalers look every S seconds"
    )
    options = parser.parse_args(arguments)
    for table in options.images:
        if not table.is_file():
            parser.error(f"--images {table}: no such file")
    return ClusterConfig(
        data_dir=options.data_dir.resolve(),
        port=options.port,
        host=options.host,
        images=tuple(options.images),
        hollow=options.hollow,
        faults=options.faults,
        node_grace_seconds=options.node_grace_seconds,
        gateway=not options.no_gateway,
        autoscaler_seconds=options.autoscaler_seconds,
        nodes=hollow_nodes(options.hollow_nodes) if options.hollow_nodes else default_nodes(options.nodes_named),
    )


async def _main(config: ClusterConfig) -> None:
    ready = asyncio.Event()

    async def announce() -> None:
        await ready.wait()
        print(f"The local cluster is ready: export KUBECONFIG={config.kubeconfig}", flush=True)

    telling = asyncio.create_task(announce())
    try:
        await run_cluster(config, ready=ready)
    finally:
        telling.cancel()


def main() -> int:
    """Run; gives the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    config = parse(sys.argv[1:])
    try:
        asyncio.run(_main(config))
    except (ClusterError, ImageError) as error:
        print(f"localcluster: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
