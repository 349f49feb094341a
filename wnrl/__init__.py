"""wnrl: deep reinforcement learning with weight-normalized networks, and honest comparisons."""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # not typing's, which takes a tenth of the time before Ctrl-C is handled
    from collections.abc import Sequence

__version__ = "0.1.0"

_COMMANDS = {  # the module of each, and what it does
    "demo": ("wnrl.compare.demo.command", "watch two agents learn, in about a minute"),
    "train": ("wnrl.report.plot.after_training", "train an agent, or continue a run"),
    "compare": ("wnrl.compare.command", "train a grid of runs and report on the normalizations"),
    "evaluate": ("wnrl.evaluate.command", "play episodes with a trained agent"),
    "plot": ("wnrl.report.plot.command", "draw the learning curves of runs"),
    "doctor": ("wnrl.doctor.command", "check that training works on this machine"),
    "curvature": ("wnrl.curvature.command", "measure the curvature of a run's loss"),
    "export": ("wnrl.export.command", "write a policy for other programs and for sharing"),
    "completion": ("wnrl.train.process.completion", "print the code for completion in a shell"),
}


def main() -> int:
    """Run the console script `wnrl COMMAND ...`; return its exit code."""
    import os

    if "_ARGCOMPLETE" in os.environ:  # a shell completes a line
        import importlib

        importlib.import_module(_COMMANDS["completion"][0]).answer(_COMMANDS)
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(_help())
        return 0
    if name == "--version":
        print(f"wnrl {__version__}")
        return 0
    if name not in _COMMANDS:
        from wnrl._settings import nearest

        known = f"the commands are {', '.join(_COMMANDS)}{nearest(name, _COMMANDS)}"
        print(f"wnrl: unknown command {name!r}; {known}", file=sys.stderr)
        return 2
    return run_command(name, arguments, own_program=True)


def _help() -> str:
    lines = [f"  {name:<12}{summary}" for name, (_, summary) in _COMMANDS.items()]
    return "\n".join(
        [
            "usage: wnrl COMMAND [FLAG ...]",
            "       wnrl --version",
            "",
            *lines,
            "",
            "wnrl COMMAND --help lists the flags of a command.",
        ]
    )


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
    exit_code: int = entry.run(f"wnrl.{name}", _COMMANDS[name][0], arguments)
    return exit_code
