"""`vaewatch completion`."""

from __future__ import annotations

import sys

import click


@click.command(epilog="Example:  vaewatch completion bash >> ~/.bashrc")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell."""
    from click.shell_completion import get_completion_class

    complete = get_completion_class(shell)
    if complete is None:
        raise click.ClickException(f"click knows no completion for {shell}.")
    root = click.get_current_context().find_root().command
    click.echo(complete(root, {}, "vaewatch", "_VAEWATCH_COMPLETE").source())
    sys.stdout.flush()
