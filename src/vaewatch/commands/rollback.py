"""`vaewatch rollback`."""

from __future__ import annotations

from pathlib import Path

import click

from vaewatch.commands.terminal import out


@click.command(epilog="Example:  vaewatch rollback artifact")
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option(
    "--to",
    "version",
    metavar="VERSION",
    help="The beginning of a version's name.  [default: the version that was replaced last]",
)
@click.option("--list", "only_list", is_flag=True, help="Show the versions, and change nothing.")
def rollback(artifact: Path, version: str | None, only_list: bool) -> None:
    """Put the version of an artifact back that was replaced last.

    It is verified, then exchanged with the one in place, which is kept: a second rollback undoes
    the first. A service that watches the path takes the change up as it does any other.
    """
    if only_list:
        _print_versions(artifact)
        return
    from vaewatch.commands.terminal import print_fact
    from vaewatch.scoring.disk.versions import roll_back

    done = roll_back(artifact, version)
    print_fact(out(), "artifact", f"{artifact}  (version {done.now})")
    print_fact(out(), "replaced", f"version {done.before}" if done.before else "nothing")


def _print_versions(artifact: Path) -> None:
    from vaewatch.commands.terminal import print_table
    from vaewatch.scoring.disk.reading import read_manifest
    from vaewatch.scoring.disk.versions import versions

    found = [(read_manifest(artifact), "in place")]
    found += [(kept.manifest, "kept") for kept in versions(artifact)]
    rows = [(manifest.version, manifest.created_at, state) for manifest, state in found]
    print_table(out(), ("version", "created", ""), rows)
