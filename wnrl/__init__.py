"""wnrl: deep reinforcement learning with weight-normalized networks, and honest comparisons."""

import sys

__version__ = "0.1.0"


def main() -> int:
    """Run the console script `wnrl train|compare|evaluate|doctor ...`; return its exit code."""
    import importlib

    commands = {
        "train": "wnrl.train.command",
        "compare": "wnrl.compare.command",
        "evaluate": "wnrl.evaluate",
        "doctor": "wnrl.doctor.command",
    }
    usage = f"usage: wnrl {{{','.join(commands)}}} ...  (wnrl COMMAND --help lists its flags)"
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(usage)
        return 0
    if name not in commands:
        print(f"wnrl: unknown command {name!r}; {usage}", file=sys.stderr)
        return 2
    exit_code: int = importlib.import_module(commands[name]).main(arguments)
    return exit_code
