"""The front door: the `vaewatch` command, and the names for Python.

    import vaewatch

    scorer = vaewatch.train("normal.csv", "artifact", alpha=0.01)
    scorer = vaewatch.load("artifact")
    verdicts = scorer.score([{"amount": 12.5, "country": "NL"}])

Nothing heavy is imported before it is used.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from scoring.scorer import Scorer
    from service.client import Client
    from training.detector import VAEDetector

__all__ = ["Client", "Scorer", "VAEDetector", "load", "train"]

# command -> (where it is, what it does): `vaewatch --help` must not import what it lists
COMMANDS = {
    "train": ("training.cli", "Fit, calibrate and export an artifact from normal records."),
    "evaluate": ("training.cli", "Measure an artifact on labelled records."),
    "recalibrate": ("training.model_cli", "Calibrate an artifact again on newer normal records."),
    "report": ("training.report_cli", "Make the training report of an artifact anew."),
    "sample": ("training.model_cli", "Draw records from the prior through the decoder."),
    "score": ("batch.cli", "Score a file of records."),
    "replay": ("batch.replay_cli", "Count the alarms that past records would have raised."),
    "serve": ("service.cli", "Score records over HTTP."),
    "inspect": ("scoring.cli", "Show what an artifact holds."),
    "completion": ("scoring.cli", "Print the completion script of a shell."),
}
# name -> where it is
LAZY = {
    "Scorer": "scoring.scorer",
    "Client": "service.client",
    "VAEDetector": "training.detector",
}
EXTRAS = {
    "torch": "train",
    "sklearn": "train",
    "scipy": "train",
    "onnx": "train",
    "matplotlib": "train",
    "jinja2": "train",
    "ray": "ray",
    "obstore": "cloud",
    "PIL": "png",
    "opentelemetry": "otel",
}
OUR_FAULT, USAGE, BAD_DATA, BAD_ARTIFACT, INTERRUPTED = 1, 2, 3, 4, 130


def train(data: Any, out: Path | str, **settings: Any) -> Scorer:
    """Fit, calibrate and export; see `training.pipeline.train`."""
    pipeline = importlib.import_module("training.pipeline")
    scorer: Scorer = pipeline.train(data, out, **settings)
    return scorer


def load(path: Path | str, threads: int = 1) -> Scorer:
    """The verified Scorer of an artifact; see `scoring.scorer.Scorer.load`."""
    from scoring.scorer import Scorer

    return Scorer.load(path, threads)


def __getattr__(name: str) -> Any:
    if name in LAZY:
        return getattr(importlib.import_module(LAZY[name]), name)
    raise AttributeError(f"module 'vaewatch' has no attribute '{name}'")


class _Commands(click.Group):
    """Imports a command's room when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            import difflib

            like = difflib.get_close_matches(cmd_name, COMMANDS, 1)
            ctx.fail(
                f"no command '{cmd_name}'" + (f"; did you mean '{like[0]}'?" if like else ".")
            )
        room = importlib.import_module(COMMANDS[cmd_name][0])
        command: click.Command = getattr(room, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start here:  vaewatch train normal.csv --out artifact",
)
@click.version_option(package_name="vaewatch", message="vaewatch %(version)s")
@click.option(
    "--debug", is_flag=True, envvar="VAEWATCH_DEBUG", help="Show the traceback of an error."
)
def cli(debug: bool) -> None:
    """Anomaly detection for tabular records with an alarm budget that holds."""


def main() -> None:
    """Run the command line and exit: 0 fine, 1 our fault, 2 usage, 3 bad data, 4 bad artifact, 130
    interrupted.
    """
    debug = "--debug" in sys.argv[1:2] or bool(os.environ.get("VAEWATCH_DEBUG"))
    try:
        sys.exit(cli(prog_name="vaewatch", standalone_mode=False))
    except (KeyboardInterrupt, click.Abort):
        _fail("interrupted; nothing half-written was left behind.", INTERRUPTED)
    except click.UsageError as error:
        error.show()
        sys.exit(USAGE)
    except Exception as error:
        if debug:
            raise
        _fail(*_explain(error))


def _explain(error: Exception) -> tuple[str, int]:
    from scoring.errors import ArtifactError, ScoringError

    if isinstance(error, ArtifactError):
        return str(error), BAD_ARTIFACT
    if isinstance(error, ScoringError):
        return str(error), BAD_DATA
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] in EXTRAS:
        extra = EXTRAS[(error.name or "").split(".")[0]]
        return f"this command needs {error.name}: pip install 'vaewatch[{extra}]'.", USAGE
    if isinstance(error, click.ClickException):
        return error.format_message(), error.exit_code
    return (
        f"{type(error).__name__}: {error}. Run again with vaewatch --debug and report it.",
        OUR_FAULT,
    )


def _fail(text: str, code: int) -> None:
    click.echo(f"error: {text}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
