"""`vaewatch notify`."""

from __future__ import annotations

import click

from vaewatch.commands.parameters import SecretArgument
from vaewatch.commands.terminal import out


@click.command(epilog="Example:  vaewatch notify http://127.0.0.1:9093 --format alertmanager")
@click.argument("urls", nargs=-1, cls=SecretArgument, envvar="VAEWATCH_NOTIFY", metavar="[URL]...")
@click.option(
    "--format",
    "formats",
    type=click.Choice(["webhook", "slack", "alertmanager"]),
    multiple=True,
    envvar="VAEWATCH_NOTIFY_FORMAT",
    help="Format for all, or for each URL in turn.  [default: by the URL]",
)
@click.option(
    "--link", metavar="URL", envvar="VAEWATCH_NOTIFY_LINK", help="Address of the console."
)
def notify(urls: tuple[str, ...], formats: tuple[str, ...], link: str | None) -> None:
    """Send a test to each receiver, as vaewatch serve --notify sends notifications.

    Without a URL it takes those of VAEWATCH_NOTIFY, or of the file that VAEWATCH_NOTIFY_FILE
    names. A webhook is signed with the secret of VAEWATCH_NOTIFY_SECRET, or of the file that
    VAEWATCH_NOTIFY_SECRET_FILE names.
    """
    from vaewatch.commands.terminal import print_fact
    from vaewatch.service.notify.post import Unreachable
    from vaewatch.service.notify.receiver import receivers_of_settings
    from vaewatch.service.notify.trial import send_test

    receivers = receivers_of_settings(urls, formats)
    if not receivers:
        raise click.UsageError("a URL must be given, or set as VAEWATCH_NOTIFY.")
    failed = []
    for receiver in receivers:
        try:
            answer = send_test(receiver, link)
        except Unreachable as error:
            failed.append(f"{receiver} was not reached: {error}.")
            continue
        if answer.taken:
            print_fact(out(), "sent", f"{receiver}, which answered {answer}")
        else:
            failed.append(f"{receiver} refused it: {answer}.")
    if failed:
        raise click.ClickException(" ".join(failed))
