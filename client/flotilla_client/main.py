"""`flotilla`: the group of all commands."""

import sys
from typing import Any

import click

from flotilla_client.commands import account, bundles, completion, deployments, pipelines, reading, runs


class _Closed(click.Group):
    """A group that ends well when whoever reads its output, such as `head`, has read enough."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """As click's, but for that."""
        try:
            return super().main(*args, **kwargs)
        except BrokenPipeError:
            # Nothing can be said any more, not even when Python flushes what is left.
            sys.stdout = sys.stderr = None
            sys.exit(0)


@click.group(cls=_Closed, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="flotilla-client")
def main() -> None:
    """Runs, pipelines, deployments and bundles of a Flotilla server.

    Exit codes: 0 as wanted, 1 failed or refused, 2 wrong use, 3 timeout.
    """


for _command in (
    account.login,
    runs.run,
    runs.logs,
    pipelines.pipeline,
    *deployments.COMMANDS,
    reading.get,
    bundles.apply,
    bundles.diff,
    completion.completion,
):
    main.add_command(_command)
