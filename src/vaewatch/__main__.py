"""The `vaewatch` command. Each subcommand is a file of `commands`, imported when it is called."""

from __future__ import annotations

import errno
import gc
import importlib
import io
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click

# command -> its help: `vaewatch --help` must not import what it lists
COMMANDS = {
    "profile": "Show how the columns of a file would be read, before a fit.",
    "train": "Fit, calibrate and export an artifact from normal records.",
    "evaluate": "Measure an artifact on labelled records.",
    "recalibrate": "Calibrate an artifact again on newer normal records.",
    "rollback": "Restore the version of an artifact that was replaced last.",
    "report": "Rebuild the training report of an artifact.",
    "sample": "Draw records from the prior through the decoder.",
    "score": "Score a file of records.",
    "replay": "Count the alarms that past records would have raised.",
    "serve": "Score records over HTTP.",
    "feedback": "Export, import, list and back up what people said of incidents.",
    "notify": "Send a test to a receiver of notifications.",
    "inspect": "Show what an artifact holds.",
    "completion": "Print the completion script of a shell.",
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
    "psycopg": "postgres",
}
GIB = 1 << 30
# command -> address space that its libraries take; with less some of them abort (ulimit -v)
LEAST_SPACE = {"score": 1.0, "replay": 1.0, "serve": 1.0, "train": 1.6, "recalibrate": 1.6}
LEAST_SPACE |= {"profile": 0.8, "report": 1.3, "sample": 1.6, "evaluate": 1.8}
NO_MEMORY = (
    "failed to map segment",
    "annot allocate memory",
    "ailed to allocate memory",
    "not enough memory",
    "bad_alloc",
)
BROKEN_PIPE = 141  # the status that a shell reports for a program that SIGPIPE ended
YOUNG = 50_000  # new objects that start a search for garbage: imports make many, and none of it
OUR_FAULT, USAGE, BAD_DATA, BAD_ARTIFACT, INTERRUPTED = 1, 2, 3, 4, 130


class _Commands(click.Group):
    """A group that imports the module of a command when it is called."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with _until_the_reader_goes():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _until_the_reader_goes():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            import difflib

            like = difflib.get_close_matches(cmd_name, COMMANDS, 1)
            ctx.fail(
                f"no command '{cmd_name}'" + (f"; did you mean '{like[0]}'?" if like else ".")
            )
        _require_space(cmd_name)
        module = importlib.import_module(f"vaewatch.commands.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _require_space(command: str) -> None:
    least, (limit, _) = LEAST_SPACE.get(command, 0.0), resource.getrlimit(resource.RLIMIT_AS)
    asks_help = {"--help", "-h"} & set(sys.argv)
    if limit != resource.RLIM_INFINITY and limit < least * GIB and not asks_help:
        raise click.ClickException(
            f"vaewatch {command} needs {least:g} GiB of address space or more, got "
            f"{limit / GIB:.2f} GiB. Raise the limit: ulimit -v unlimited."
        )


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start here:  vaewatch train normal.csv --out artifact\n\n"
    "Most options can also be set in the environment: --alpha as VAEWATCH_ALPHA.",
)
@click.version_option(package_name="vaewatch", message="vaewatch %(version)s")
@click.option(
    "--debug", is_flag=True, envvar="VAEWATCH_DEBUG", help="Show the traceback of an error."
)
def cli(debug: bool) -> None:
    """Anomaly detection for tabular records with an alarm budget that holds."""


def main() -> None:
    """Run the command line and exit with a code.

    0 is success, 1 our fault or a failed write, 2 usage, 3 bad data, 4 a bad artifact, 130 an
    interrupt.
    """
    if "serve" in sys.argv[1:3]:
        from vaewatch.service.signals import hold_changes

        hold_changes()  # first of all: until they are handled they would end the service
    debug = "--debug" in sys.argv[1:2] or bool(os.environ.get("VAEWATCH_DEBUG"))
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
    _occupy_closed_streams()
    _buffer_streams()
    try:
        code = cli(prog_name="vaewatch", standalone_mode=False)
        with _until_the_reader_goes():
            sys.stdout.flush()  # or Python would find out that it cannot, and say so itself
        sys.exit(code)
    except (KeyboardInterrupt, click.Abort):
        _fail("interrupted; nothing half-written was left behind.", INTERRUPTED)
    except click.UsageError as error:
        error.show()
        sys.exit(USAGE)
    except Exception as error:
        if debug:
            raise
        _fail(*_explain(error))
    except BaseException as error:  # a panic in polars is no Exception
        if debug or isinstance(error, SystemExit) or type(error).__name__ != "PanicException":
            raise
        _fail(*_explain(RuntimeError(error)))


def _occupy_closed_streams() -> None:
    """Open what the caller has closed (`>&-`), so that no file of ours gets its number and what
    libraries print. Reading or writing it fails, as it should.
    """
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if name == "stdout" else os.O_WRONLY)
            setattr(sys, name, open(number, mode, closefd=False))


class _Notes(io.TextIOWrapper):
    """Text for stderr. What it does not take is lost, but no work and no exit code with it."""

    def write(self, text: str, /) -> int:
        with suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


def _buffer_streams() -> None:
    """Buffer stdout and stderr by the line although PYTHONUNBUFFERED asks for less: Python then
    drops, without a word, what a full disk does not take.
    """
    raw = isinstance(getattr(sys.stdout, "buffer", None), io.RawIOBase)
    if raw and sys.stdout is sys.__stdout__:
        sys.stdout = _by_lines(io.TextIOWrapper, sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _by_lines(_Notes, sys.stderr)


def _by_lines(kind: type[io.TextIOWrapper], stream: Any) -> io.TextIOWrapper:
    raw = io.FileIO(stream.fileno(), "w", closefd=False)
    return kind(io.BufferedWriter(raw), stream.encoding, stream.errors, line_buffering=True)


@contextmanager
def _until_the_reader_goes() -> Iterator[None]:
    """Be silent where a pipe has no reader any more; click's own way would be exit code 1."""
    try:
        yield
    except BrokenPipeError:
        _abandon_output()
        sys.exit(BROKEN_PIPE)


def _abandon_output() -> None:
    """Keep Python from flushing at exit what cannot be written."""
    with suppress(OSError, ValueError):  # of a stream that is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _explain(error: Exception) -> tuple[str, int]:
    """Return the sentence and the exit code of an error."""
    from vaewatch.scoring.errors import ArtifactError, OutputError, ScoringError, SettingError

    if isinstance(error, SettingError):
        return str(error), USAGE
    if isinstance(error, ArtifactError):
        return str(error), BAD_ARTIFACT
    if isinstance(error, ScoringError):
        return str(error), BAD_DATA
    if isinstance(error, OutputError):
        return str(error), OUR_FAULT
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] in EXTRAS:
        extra = EXTRAS[(error.name or "").split(".")[0]]
        return f"this command needs {error.name}: pip install 'vaewatch[{extra}]'.", USAGE
    if isinstance(error, click.ClickException):
        return error.format_message(), error.exit_code
    return _explain_machine(error)


def _explain_machine(error: Exception) -> tuple[str, int]:
    """Return the sentence and the exit code of an error that no command has foreseen."""
    if isinstance(error, MemoryError) or any(sign in str(error) for sign in NO_MEMORY):
        return (
            "there must be more memory than this process may use (see ulimit -v, and the limit of "
            "its container).",
            OUR_FAULT,
        )
    if isinstance(error, OSError) and error.strerror:
        _abandon_output()
        if error.errno == errno.ENOENT and not error.filename:
            return "the working folder must be there, but is not. Change to another.", OUR_FAULT
        what = f"'{error.filename}'" if error.filename else "standard output"
        return f"{what} could not be read or written: {error.strerror}.", OUR_FAULT
    return (
        f"{type(error).__name__}: {error}. Run again with vaewatch --debug and report it.",
        OUR_FAULT,
    )


def _fail(text: str, code: int) -> None:
    try:
        sys.stdout.flush()
    except OSError:
        _abandon_output()
    from vaewatch.commands.terminal import visible

    click.echo(f"error: {visible(text)}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
