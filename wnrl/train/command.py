"""`python -m wnrl.train --env Breakout`: the command line of a training run.

Flags are checked before torch is imported, which takes seconds.
"""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wnrl._settings import UsageError, flag_name
from wnrl._settings.later import Later
from wnrl.config import make_config
from wnrl.nn.norms.catalogue import NORMS
from wnrl.nn.norms.record import KINDS, Norm
from wnrl.train.exit_codes import ExitCode
from wnrl.train.flags import describe as describe_setting
from wnrl.train.flags import import_named, one_line, parse_train_flags
from wnrl.train.process.output import all_printed
from wnrl.train.process.stop_signals import StopSignals

if TYPE_CHECKING:
    from wnrl.train import run
    from wnrl.train.process import training
else:
    run = Later("wnrl.train.run")
    training = Later("wnrl.train.process.training")

PROGRAM = "wnrl.train"


def list_norms() -> str:
    """Describe every normalization, grouped by what it normalizes."""
    groups = {kind: [norm for norm in NORMS.values() if norm.kind == kind] for kind in KINDS}
    return "\n\n".join(
        "\n".join([f"Normalizes {kind}:", *map(_describe_norm, norms)])
        for kind, norms in groups.items()
        if norms
    )


def _describe_norm(norm: Norm) -> str:
    lines = [
        f"{norm.name}: {norm.summary}",
        f"  paper  {norm.paper}",
        f"  cost   {norm.cost}",
        f"  start  with the same seed, {norm.start}",
        f"  layers {norm.where}",
    ]
    lines += [
        f"  --norm.{flag_name(field.name)}  {describe_setting(field)}"
        for field in dataclasses.fields(norm.settings)
    ]
    return "\n".join(lines)


def _nothing(run_dir: Path) -> None:
    pass


def main(
    arguments: Sequence[str] | None = None, finished: Callable[[Path], None] = _nothing
) -> int:
    """Train from the command line; return the exit code.

    `finished` is called with the folder of a run that is done, unless `--no-curve` is given.

    `ExitCode` names 0 to 5; 130, 143 or 129: stopped by Ctrl-C, SIGTERM or SIGHUP, with a
    checkpoint if the training had begun.
    """
    signals = StopSignals(f"{PROGRAM}: stopped before the training began; nothing is lost")
    with signals.installed():
        try:
            arguments = sys.argv[1:] if arguments is None else arguments
            import_named(arguments)
            commands, settings = parse_train_flags(arguments)
            if "list_norms" in commands:
                print(list_norms())
                return ExitCode.DONE if all_printed() else ExitCode.FAILED
            if "resume" not in commands:
                config = make_config(settings)
                folder = run.run_dir_of(config)
                exit_code = training.start(config, signals, "overwrite" in commands)
            elif "overwrite" in commands:
                raise UsageError("--resume continues a run, --overwrite replaces it; give only one")
            else:
                folder = Path(commands["resume"])
                exit_code = training.go_on(commands["resume"], settings, signals)
            if exit_code == ExitCode.DONE and "no_curve" not in commands:
                finished(folder)
            return exit_code
        except UsageError as error:
            print(f"{PROGRAM}: {one_line(error)}", file=sys.stderr)
            return ExitCode.UNUSABLE
