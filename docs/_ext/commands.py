"""click's commands -> their options: names, defaults, environment variables and help."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from _ext.markdown import directive, sentence
from vaewatch.__main__ import cli

DEFAULT_IN_HELP = re.compile(r"\s*\[default: (?P<default>[^\]]*)\]\s*$")


def commands() -> Iterator[tuple[str, click.Command, click.Context]]:
    """Each subcommand with a context of its own, in the order of `vaewatch --help`; those of a
    group follow it, as `feedback list`.
    """
    assert isinstance(cli, click.Group)
    root = click.Context(cli, info_name="vaewatch")
    for name in cli.list_commands(root):
        command = cli.get_command(root, name)
        assert command is not None
        ctx = click.Context(command, info_name=name, parent=root)
        yield name, command, ctx
        for part, own in command.commands.items() if isinstance(command, click.Group) else ():
            yield f"{name} {part}", own, click.Context(own, info_name=part, parent=ctx)


def command_reference() -> str:
    """A section for each command."""
    return "\n".join(_section(name, command, ctx) for name, command, ctx in commands())


def command_summary() -> str:
    """One line for each command: its name, and the first sentence of its help."""
    lines = []
    for name, command, _ in commands():
        first = (command.help or "").split("\n\n")[0]
        lines.append(
            f"[`vaewatch {name}`](#vaewatch-{_anchor(name)})\n: {' '.join(first.split())}\n"
        )
    return "\n".join(lines)


def _section(name: str, command: click.Command, ctx: click.Context) -> str:
    usage = command.get_usage(ctx).removeprefix("Usage: ")
    parts = [f"(vaewatch-{_anchor(name)})=", f"## vaewatch {name}\n"]
    parts += [f"```text\n{' '.join(usage.split())}\n```\n", _prose(command.help or "")]
    if command.epilog:
        parts.append(_example(command.epilog))
    parts.append(f"```{{program}} vaewatch {name}\n```\n")
    parts += [_option(param, ctx) for param in command.params if isinstance(param, click.Option)]
    return "\n".join(parts)


def _anchor(name: str) -> str:
    return name.replace(" ", "-")


def _prose(text: str) -> str:
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
    return "\n\n".join(paragraphs) + "\n"


def _example(epilog: str) -> str:
    label, _, command = epilog.partition(":")
    return f"{label}:\n\n```text\n$ {command.strip()}\n```\n"


def _option(option: click.Option, ctx: click.Context) -> str:
    value = "" if option.is_flag or option.count else f" {_value(option, ctx)}"
    names = [*option.opts, *option.secondary_opts]
    flags = ", ".join(f"{name}{value}" for name in names)
    return directive("option", flags, _meaning(option, ctx))


def _value(option: click.Option, ctx: click.Context) -> str:
    """What stands for the value, without the brackets that are markup to Sphinx."""
    return option.make_metavar(ctx).strip("[]<>").replace("|", " | ")


def _meaning(option: click.Option, ctx: click.Context) -> str:
    help_text, default = option_help(option, ctx)
    facts = ["required"] if option.required else []
    facts += [f"default: {default}"] if default else []
    facts += [f"environment: `{option.envvar}`"] if option.envvar else []
    facts += ["may be repeated"] if option.multiple else []
    shown = f"*{'; '.join(facts)}*" if facts else ""
    return f"{help_text}\n\n{_unemphasised(shown)}"


def _unemphasised(facts: str) -> str:
    """Literals cannot stand inside emphasis that ends beside them in every renderer."""
    return facts.strip("*")[:1].upper() + facts.strip("*")[1:] + ("." if facts else "")


def option_help(option: click.Option, ctx: click.Context) -> tuple[str, str]:
    """(the help of an option, its default); the default may be words that the help ends with."""
    text = option.help or ""
    found = DEFAULT_IN_HELP.search(text)
    if found:
        return sentence(text[: found.start()]), found["default"]
    default = option.get_help_extra(ctx).get("default", "")
    return sentence(text), f"`{default}`" if default else ""
