"""Completion for shells: click writes the scripts."""

import click
from click.shell_completion import get_completion_class

from flotilla_client.errors import Failed

_HOW = {
    "bash": 'eval "$(flotilla completion bash)"  in ~/.bashrc',
    "zsh": 'eval "$(flotilla completion zsh)"  in ~/.zshrc',
    "fish": "flotilla completion fish > ~/.config/fish/completions/flotilla.fish",
}


@click.command(epilog="\b\n" + "\n".join(_HOW.values()))
@click.argument("shell", type=click.Choice(list(_HOW)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes `flotilla` in a SHELL."""
    kind = get_completion_class(shell)
    if kind is None:
        raise Failed(f"This version of click knows no completion for {shell}.")
    click.echo(kind(context.find_root().command, {}, "flotilla", "_FLOTILLA_COMPLETE").source())
