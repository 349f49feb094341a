"""Shell completion of the console script, by argcomplete.

A shell that completes a line starts `wnrl` with the line in its environment. So the flags are those
of the agent and the normalizations that the line names, which a script of the shell cannot know.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import argcomplete
from argcomplete.completers import FilesCompleter
from argcomplete.lexers import split_line
from argcomplete.shell_integration import shellcode

from wnrl._settings import UsageError
from wnrl.agents.catalogue import AGENTS
from wnrl.config import RunConfig, fields_of
from wnrl.nn.norms.catalogue import NORMS
from wnrl.train.flags import Parser, one_line, train_parser
from wnrl.train.process.output import all_printed

SHELLS = ("bash", "zsh", "fish")
_PATHS = {"DIR", "FILE", "FOLDER", None}  # metavars of paths; None: the positional RUN_DIR


def main(arguments: Sequence[str]) -> int:
    """Print the code that makes a shell complete `wnrl`; return the exit code."""
    try:
        shell = command_parser().parse(arguments)["shell"]
    except UsageError as error:
        print(f"wnrl.completion: {one_line(error)}", file=sys.stderr)
        return 2
    print(shellcode(["wnrl"], shell=shell))
    return 0 if all_printed() else 1


def command_parser() -> Parser:
    """Return the parser of `wnrl completion`."""
    parser = Parser(
        prog="wnrl completion",
        description="Print the code that makes a shell complete commands, flags and choices.",
        epilog='bash and zsh: eval "$(wnrl completion bash)"; fish: wnrl completion fish | source',
        allow_abbrev=False,
    )
    parser.add_argument("shell", choices=SHELLS, help="shell that reads the code")
    return parser


def answer(commands: Mapping[str, tuple[str, str]]) -> NoReturn:
    """Answer the shell that completes a line, and end the process.

    Args:
        commands: the module and a summary of each command, by name.
    """
    words = split_line(os.environ["COMP_LINE"], int(os.environ["COMP_POINT"]))[3]
    parser: argparse.ArgumentParser
    if len(words) > 1 and words[1] in commands:
        os.environ["_ARGCOMPLETE"] = "2"  # the command is the program
        parser = _parser(words[1], commands[words[1]][0], words[2:])
    else:
        parser = argparse.ArgumentParser()
        parser.add_argument("--version", action="store_true")
        several = parser.add_subparsers()
        for name, (_, summary) in commands.items():
            several.add_parser(name, help=summary)
    argcomplete.autocomplete(parser, always_complete_options="long", default_completer=_Paths())
    sys.exit(1)  # `autocomplete` ends the process


def _parser(command: str, module: str, words: Sequence[str]) -> Parser:
    """Return a command's parser, with the values that its flags may have."""
    agent = [name for name in _values("--agent", words) if name in AGENTS] or [RunConfig.agent]
    norms = [name for name in _values("--norm", words) if name in NORMS] or [RunConfig.norm]
    if command == "train":
        parser = train_parser(agent[-1], norms[-1])
    elif command == "compare":
        # By name: it is above wnrl.train.
        flags = importlib.import_module("wnrl.compare.flags")
        parser = flags.compare_parser(agent[-1], norms)
        _choose(parser, "baseline", NORMS)
    else:
        parser = importlib.import_module(module).command_parser()
    for norm in norms if command in ("train", "compare") else ():
        for name, field in fields_of(agent[-1], norm).items():
            _choose(parser, name, field.metadata["choices"])
    return parser


def _values(flag: str, words: Sequence[str]) -> Iterator[str]:
    """Yield what follows a flag, as `--flag value value` or `--flag=value`."""
    inside = False
    for word in words:
        if word.startswith("-"):
            name, equals, value = word.partition("=")
            inside = name == flag
            if inside and equals:
                yield value
        elif inside:
            yield word


def _choose(parser: Parser, name: str, choices: Iterable[str]) -> None:
    for action in parser._actions:
        if action.dest == name and choices:
            action.choices = list(choices)


class _Paths(FilesCompleter):
    """Complete paths, but not where a flag takes a number or a name."""

    def __call__(self, prefix: str, **about: Any) -> list[str]:
        action = about["action"]
        if action.metavar in _PATHS or action.dest in ("run_dir", "out"):
            return list(super().__call__(prefix))
        return []
