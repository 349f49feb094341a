"""wnrl: deep reinforcement learning with weight-normalized networks, and honest comparisons."""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # not typing's, which takes a tenth of the time before Ctrl-C is handled
    from collections.abc import Sequence

__version__ = "0.1.0"

_COMMANDS = {
    "train": "wnrl.train.command",
    "compare": "wnrl.compare.command",
    "evaluate": "wnrl.evaluate.command",
    "doctor": "wnrl.doctor.command",
    "curvature": "wnrl.curvature.command",
}


def main() -> int:
    """Run the console script `wnrl COMMAND ...`; return its exit code."""
    usage = f"usage: wnrl {{{','.join(_COMMANDS)}}} ...  (wnrl COMMAND --help lists its flags)"
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(usage)
        return 0
    if name not in _COMMANDS:
        print(f"wnrl: unknown command {name!r}; {usage}", file=sys.stderr)
        return 2
    return run_command(name, arguments, own_program=True)


def run_command(name: str, arguments: "Sequence[str]", own_program: bool = False) -> int:
    """Run a command in this process, which does nothing else; return its exit code.

    With `own_program`, this program was started for the command and may start again.
    """
    import os

    def stop(signum: int, frame: object) -> None:
        os.write(2, f"wnrl.{name}: stopped\n".encode())
        os._exit(128 + signum)

    try:
        import signal

        signal.signal(signal.SIGINT, stop)  # until `entry` is imported
    except KeyboardInterrupt:
        stop(2, None)

    import importlib

    if own_program and name == "train":
        importlib.import_module("wnrl.doctor.huge_pages").restart_with_huge_pages()
    entry = importlib.import_module("wnrl.train.process.entry")  # by name: it is above wnrl.doctor
    exit_code: int = entry.run(f"wnrl.{name}", _COMMANDS[name], arguments)
    return exit_code
