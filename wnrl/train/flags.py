"""The command line of `wnrl.train`: flags generated from the settings, and TOML files.

Values are passed on as text to `wnrl.config.make_config`, which checks them. So a flag, a line of a
file and a Python keyword get the same error for the same mistake.
"""

import argparse
import contextlib
import dataclasses
import re
import textwrap
import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

from wnrl._settings import SettingError, UsageError, cut, flag_name, nearest, printable
from wnrl.agents.catalogue import AGENTS, get_agent
from wnrl.config import (
    CONTROL_RUN,
    MINATAR_RUN,
    NORM,
    RunConfig,
    fields_of,
    norm_named,
)
from wnrl.config.unknown import hint
from wnrl.envs.registered.keywords import SETTING
from wnrl.nn.norms.catalogue import get_norm
from wnrl.train.foreign_text import joined
from wnrl.train.plugins import import_modules, load_plugins
from wnrl.train.storage.run_folder import read_config
from wnrl.train.untrusted.files import read_text

PROGRAM = "python -m wnrl.train"
_TOML_BYTES, _TOML_MOST = 1 << 16, 1_000
_LONGEST_LINE = 280  # characters of an error; with the command's name at most 300
_LONGEST_WORD = 60  # characters, in an error that is too long


# argparse's messages, and the same in the words of the other errors.
_REWORDED = (
    (r"argument (\S+): expected (one|at least one) argument", r"\1 needs a value"),
    (r"argument (\S+): invalid int value: (.*)", r"\1 takes a whole number, not \2"),
    (r"argument (\S+): invalid float value: (.*)", r"\1 takes a number, not \2"),
)


class Parser(argparse.ArgumentParser):
    """An argument parser that raises UsageError where argparse prints its usage and exits."""

    help_of = ""  # the flags that select this parser's help, with a space at the end
    agent = ""  # whose settings are flags of this parser

    def error(self, message: str) -> NoReturn:
        """Raise UsageError; argparse calls this."""
        for pattern, words in _REWORDED:
            message = re.sub(pattern, words, message)
        raise UsageError(f"{message}; `{self.prog} {self.help_of}--help` lists every flag")

    def parse(self, arguments: Sequence[str]) -> dict[str, Any]:
        """Return the given values by name; UsageError with the nearest flag for an unknown one."""
        known, unknown = self.parse_known_args(list(arguments))
        if unknown:
            flags = [s for action in self._actions for s in action.option_strings]
            flag = unknown[0].split("=")[0]
            raise UsageError(
                f"unknown argument {unknown[0]!r}; `{self.prog} {self.help_of}--help` lists every "
                "flag" + (hint(flag, self.agent, flags) if self.agent else nearest(flag, flags))
            )
        return vars(known)


def train_parser(agent: str, norm: str = RunConfig.norm) -> Parser:
    """Return the parser of a run with this agent and normalization. Values stay text."""
    parser = Parser(
        prog=PROGRAM,
        usage="python -m wnrl.train --env NAME [--norm NAME] [--steps N] [--seed N] [FLAG ...]",
        description="Train an agent whose network uses the chosen normalization.",
        epilog=_epilog(agent),
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if agent != RunConfig.agent:
        parser.help_of = f"--agent {agent} "
    command = parser.add_argument_group("commands")
    command.add_argument("--resume", metavar="DIR", help="folder of a run to continue")
    command.add_argument(
        "--overwrite", action="store_true", help="new run that replaces the one in the folder"
    )
    command.add_argument(
        "--no-curve", action="store_true", help="no picture of the learning curve at the end"
    )
    command.add_argument("--config", metavar="FILE", help="TOML file with settings by name")
    command.add_argument("--list-norms", action="store_true", help="list of all normalizations")
    add_import(command)
    add_settings(parser, agent, [norm])
    return parser


def add_import(group: Any) -> None:
    """Add the flag `--import`, which `import_named` reads."""
    group.add_argument(
        "--import",
        action="append",
        metavar="MODULE",
        help="Python module to import first, one that registers parts of your own; repeatable. "
        "Nothing else is imported, whatever a file or a run folder names",
    )


def import_named(arguments: Sequence[str]) -> list[str]:
    """Import installed plugins and the modules of `--import MODULE` and `--env MODULE:ID`.

    Only commands call this, before they parse their flags. A file, a run folder or a Python call
    may name `MODULE:ID` too, but never imports it: the name may be a stranger's.

    Returns:
        The modules that are named, for the processes that the command starts.

    Raises:
        UsageError: a module cannot be imported, or an argument cannot be printed.
    """
    load_plugins()
    for argument in arguments:
        if not printable(argument):
            raise UsageError(
                f"{argument!r} is not UTF-8 or has control characters; rename the file or folder"
            )
    peek = Parser(add_help=False, allow_abbrev=False)
    peek.add_argument("--import", nargs="*", action="extend", default=[])
    peek.add_argument("--env", nargs="*", action="extend", default=[])
    named = vars(peek.parse_known_args(arguments)[0])
    of_env = [env.rpartition(":")[0] for env in named["env"] if ":" in env]
    modules = list(dict.fromkeys([*named["import"], *of_env]))
    import_modules(modules)
    return modules


def add_settings(
    parser: Parser, agent: str, norms: Sequence[str], without: Collection[str] = ()
) -> None:
    """Add a flag for every setting of runs with this agent and these normalizations.

    Args:
        parser: gets the flags.
        agent: its name.
        norms: their names; a parameter that several have is one flag.
        without: names of settings to leave out.
    """
    parser.agent = agent
    added = set(without)
    parts: list[tuple[str, type, str]] = [
        ("the run", RunConfig, ""),
        (f"the agent ({agent})", AGENTS[agent].settings, ""),
    ]
    parts += [
        (f"the normalization ({norm})", type(get_norm(norm).settings), NORM) for norm in norms
    ]
    for title, kind, prefix in parts:
        group = parser.add_argument_group(title)
        hints = get_type_hints(kind)
        for field in dataclasses.fields(kind):
            if prefix + field.name not in added:
                _add_flag(group, prefix + field.name, field, hints[field.name])
                added.add(prefix + field.name)


def _epilog(agent: str) -> str:
    def flags(values: Mapping[str, Any]) -> str:
        return " ".join(as_flag(name, value) for name, value in values.items())

    minatar = flags({**MINATAR_RUN, **AGENTS[agent].minatar})
    others = flags({**CONTROL_RUN, **AGENTS[agent].control})
    return "\n\n".join(
        textwrap.fill(text, 80, break_on_hyphens=False)
        for text in (
            "Precedence: default < preset < --config FILE < flag. Other agents and normalizations "
            f"have other flags: --agent {{{','.join(AGENTS)}}} --norm NAME --help.",
            f"The defaults above are for Atari. On MinAtar others are: {minatar}",
            f"On other environments they are: {others}",
        )
    )


def as_flag(name: str, value: Any) -> str:
    """Write a setting as on the command line: `--batch-size 64`, `--no-double`."""
    if isinstance(value, bool):
        return f"--{'' if value else 'no-'}{flag_name(name)}"
    return f"--{flag_name(name)} {_shown(value)}"


def _shown(value: Any) -> str:
    return f"{value:_}" if isinstance(value, int) else str(value)


def _add_flag(group: Any, name: str, field: dataclasses.Field[Any], kind: type) -> None:
    about = describe(field)
    if kind is bool:
        group.add_argument(
            f"--{flag_name(name)}",
            action=argparse.BooleanOptionalAction,
            help=about.replace("%", "%%"),
        )
        return
    choices, several = field.metadata["choices"], field.metadata["several"]
    shown = "{" + ",".join(choices) + "}" if choices else kind.__name__.upper()
    group.add_argument(
        f"--{flag_name(name)}",
        metavar=several or shown,
        nargs="+" if several else None,
        help=about.replace("%", "%%"),
    )


def describe(field: dataclasses.Field[Any]) -> str:
    """Return a setting's help: meaning, default, unit, source."""
    default = field.default
    shown = {True: "on", False: "off"}[default] if isinstance(default, bool) else _shown(default)
    shown = shown or "empty"
    facts = [f"default {shown}" + (f" {field.metadata['unit']}" if field.metadata["unit"] else "")]
    if field.metadata["source"]:
        facts.append(f"source: {field.metadata['source']}")
    return f"{field.metadata['meaning']} [{'; '.join(facts)}]"


def parse_train_flags(arguments: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split the command line into commands (resume, overwrite, ...) and settings by name.

    The settings of `--config FILE` are merged below the flags.

    Raises:
        UsageError: an unknown flag, agent, normalization, parameter or file.
    """
    first, others = _choices().parse_known_args(arguments)
    from_file = read_toml(first.config) if "config" in first else {}
    chosen: Mapping[str, Any] = from_file
    if "resume" in first:
        with contextlib.suppress(UsageError):  # reported when the run is resumed
            run = read_config(Path(first.resume)).run
            chosen = {"agent": run.agent, "norm": run.norm}
    agent = get_agent(getattr(first, "agent", chosen.get("agent", RunConfig.agent))).name
    norm = norm_named(getattr(first, "norm", chosen.get("norm", RunConfig.norm)))
    for argument in (each.split("=")[0] for each in others if each.startswith(f"--{NORM}")):
        if "resume" in first:
            raise UsageError(f"{argument} cannot change when a run resumes")
        get_norm(norm).check_parameter(argument.removeprefix(f"--{NORM}").replace("-", "_"))
    given = train_parser(agent, norm).parse(arguments)
    given.pop("config", None)
    names = fields_of(agent, norm)
    commands = {name: value for name, value in given.items() if name not in names}
    settings = {name: value for name, value in given.items() if name in names}
    return commands, {**from_file, **settings}


def _choices() -> Parser:
    """Return a parser of the flags on which the other flags depend."""
    parser = Parser(
        prog=PROGRAM, add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS
    )
    for flag in ("--agent", "--norm", "--config", "--resume"):
        parser.add_argument(flag)
    return parser


def read_toml(path: str) -> dict[str, Any]:
    """Read settings by name from a TOML file.

    Tables only group settings, except for two: [norm] holds the normalization as `name`, and its
    parameters; [env_kwargs] holds arguments of the environment.

    Raises:
        UsageError: no such file, or not TOML.
    """
    text = ""
    try:
        text = read_text(Path(path), _TOML_BYTES)
        _check_size(text)
        table = tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"--config {path}: {error.strerror}; name a readable TOML file") from None
    except (ValueError, RecursionError) as error:
        hint = _BOTH_FORMS if _NORM_VALUE.search(text) and _NORM_TABLE.search(text) else ""
        raise UsageError(f"--config {path} is not TOML: {error}{hint}") from None
    return _flatten(table)


def _check_size(text: str) -> None:
    """Raise ValueError if the file is far beyond any list of settings.

    `tomllib` takes time with the square of a key's parts, and calls itself for each bracket.
    """
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    if len(lines) > _TOML_MOST or any(text.count(mark) > _TOML_MOST for mark in ".[{"):
        raise ValueError(f"more than {_TOML_MOST} lines, dots or brackets")


# TOML forbids norm = "layer" next to norm.eps = 1e-3, which would make norm a table.
_NORM_VALUE = re.compile(r"^\s*norm\s*=", re.MULTILINE)
_NORM_TABLE = re.compile(r"^\s*(norm\s*\.|\[\s*norm\s*\])", re.MULTILINE)
_BOTH_FORMS = (
    '; norm is both a value and a table: write parameters as quoted keys, "norm.eps" = 1e-3, or '
    'the normalization as name = "layer" in the table [norm]'
)


def _flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in table.items():
        key = prefix + name.replace("-", "_")
        if key == f"{NORM}norm":
            raise UsageError("the table [norm] names the normalization `norm`; call it `name`")
        if isinstance(value, Mapping) and not prefix and key != SETTING:
            inner = _flatten(value, NORM if name == "norm" else "")
        else:
            inner = {"norm" if key == f"{NORM}name" else key: value}
        for key in inner:
            if key in flat:
                raise UsageError(f"setting {key!r} is in the file twice; keep one")
        flat |= inner
    return flat


def one_line(error: Exception) -> str:
    """Return the message as a command prints it: one short line, with flags for settings' names.

    A message that is too long loses the middle of its long words, then its own middle: what came
    is at its beginning, and what to do at its end.
    """
    message = error.flag_message if isinstance(error, SettingError) else str(error)
    words = joined(message).split(" ")  # as they are, so that paths stay
    for k in sorted(range(len(words)), key=lambda k: -len(words[k])):
        excess = len(" ".join(words)) - _LONGEST_LINE
        if excess <= 0 or len(words[k]) <= _LONGEST_WORD:
            break
        words[k] = cut(words[k], max(_LONGEST_WORD, len(words[k]) - excess))
    return cut(" ".join(words), _LONGEST_LINE)
