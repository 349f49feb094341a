"""The command line of `wnrl.compare`: the grid's own flags, and every flag of `wnrl.train`."""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from wnrl._settings import UsageError, flag_name, parse_fields, setting
from wnrl.config import RunConfig, agent_named, norm_named
from wnrl.train.flags import Parser, add_settings, read_toml

PROGRAM = "python -m wnrl.compare"
_PER_RUN = {"seed": "--seeds", "run_dir": "--out"}  # what is said by a flag of the grid


@dataclasses.dataclass(frozen=True)
class GridConfig:
    """What a comparison has beside the settings of its runs."""

    seeds: int = setting(5, "runs of each, with seeds 1, 2, ...", source="ours", minimum=1)
    jobs: int = setting(
        0, "runs at a time (0: what cores and memory allow)", source="ours", minimum=0
    )
    ray: str = setting(
        "", "the Ray cluster that runs them, HOST:PORT or auto; else this machine", source="ours"
    )
    gpus_per_run: float = setting(
        0.25,
        "share of a GPU that a run reserves on a Ray cluster with GPUs, unless --device is cpu",
        source="ours",
        minimum=0,
        maximum=1,
    )
    memory_per_run: int = setting(
        0,
        "bytes that a run reserves on a Ray node (0: none; --dry-run measures them)",
        unit="bytes",
        source="ours",
        minimum=0,
    )
    only: int = setting(
        0,
        "run that one alone, as --dry-run numbers them, and write no report (0: all)",
        source="ours",
        minimum=0,
    )
    out: str = setting("runs/compare", "folder above the runs' and of the report", source="ours")


class Asked(NamedTuple):
    """A comparison as it was asked for."""

    grid: GridConfig
    settings: dict[str, Any]  # of all runs, by name, unchecked
    envs: list[str]
    norms: list[str]
    sweep: dict[str, list[str]]
    dry_run: bool
    report_only: Path | None


def compare_parser(agent: str, norms: Sequence[str]) -> Parser:
    """The flags of a grid with this agent and these normalizations. Values stay text."""
    parser = Parser(
        prog=PROGRAM,
        usage=(
            f"{PROGRAM} --env NAME [NAME ...] --norm NAME [NAME ...] [--agent NAME] [--seeds N] "
            "[--steps N] [--sweep FLAG=VALUE,VALUE ...] [--jobs N | --ray ADDRESS] [--out DIR] "
            "[FLAG OF wnrl.train ...]"
        ),
        description="Train environments x normalizations x seeds, and report what came of it.",
        epilog=(
            "A command that is repeated goes on where it stopped. Precedence: default < preset < "
            "--config FILE < flag."
        ),
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    if agent != RunConfig.agent:
        parser.help_of = f"--agent {agent} "
    group = parser.add_argument_group("the grid")
    group.add_argument("--env", nargs="+", action="extend", metavar="NAME", help="environments")
    group.add_argument("--norm", nargs="+", action="extend", metavar="NAME", help="normalizations")
    for field in dataclasses.fields(GridConfig):
        default = f" [default {field.default}]" if field.default != "" else ""
        about = field.metadata["meaning"] + default
        group.add_argument(f"--{flag_name(field.name)}", metavar="VALUE", help=about)
    group.add_argument(
        "--sweep",
        nargs="+",
        action="extend",
        metavar="FLAG=VALUE,VALUE",
        help="vary a flag of wnrl.train too, for example learning_rate=1e-4,3e-4",
    )
    group.add_argument("--config", metavar="FILE", help="a TOML file with settings by name")
    group.add_argument(
        "--dry-run", action="store_true", help="print the grid, its time and memory; run nothing"
    )
    group.add_argument(
        "--report-only",
        metavar="DIR",
        help="report on the runs in this folder; --sweep FLAG names what was varied in them",
    )
    add_settings(parser, agent, norms, without=("env", "norm", *_PER_RUN))
    return parser


def parse_compare_flags(arguments: Sequence[str]) -> Asked:
    """What is asked for.

    Raises:
        UsageError: an unknown flag, agent, normalization or file, or flags that exclude each other.
    """
    peek = Parser(
        prog=PROGRAM, add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS
    )
    for flag in ("--agent", "--config"):
        peek.add_argument(flag)
    peek.add_argument("--norm", nargs="+", action="extend")
    first = vars(peek.parse_known_args(arguments)[0])
    from_file = read_toml(first["config"]) if "config" in first else {}
    for name, instead in _PER_RUN.items():
        if name in from_file:
            raise UsageError(f"--config: {name} differs from run to run; give {instead} instead")
    agent = agent_named(first.get("agent", from_file.get("agent", RunConfig.agent)))
    norms = [
        norm_named(norm) for norm in first.get("norm", [from_file.pop("norm", RunConfig.norm)])
    ]
    given = compare_parser(agent, list(dict.fromkeys(norms))).parse(arguments)
    if "report_only" in given and set(given) - {"report_only", "sweep"}:
        raise UsageError(
            "--report-only reports on the runs that are there: it takes --sweep alone beside it"
        )
    envs = given.pop("env", [from_file.pop("env", RunConfig.env)])
    given.pop("norm", None)
    given.pop("config", None)
    dry_run, report_only = given.pop("dry_run", False), given.pop("report_only", None)
    sweep = given.pop("sweep", [])
    names = {field.name for field in dataclasses.fields(GridConfig)}
    own = parse_fields(GridConfig, {n: v for n, v in given.items() if n in names})
    _check_place(own)
    rest = {n: v for n, v in given.items() if n not in names}
    return Asked(
        grid=GridConfig(**own),
        settings={**from_file, **rest},
        envs=envs,
        norms=norms,
        sweep=_sweep(sweep, named_only=report_only is not None),
        dry_run=dry_run,
        report_only=None if report_only is None else Path(report_only),
    )


def _check_place(own: dict[str, Any]) -> None:
    """Refuse flags of another place than the one where the runs will be."""
    for name in ("gpus_per_run", "memory_per_run"):
        if name in own and not own.get("ray"):
            raise UsageError(f"--{flag_name(name)} is what a run reserves on --ray; give that too")
    for name in ("ray", "jobs"):
        if own.get("only") and own.get(name):
            raise UsageError(f"--only is one run on this machine: leave --{name} out")


def _sweep(given: Sequence[str], *, named_only: bool) -> dict[str, list[str]]:
    """Values by setting; of what is there already, the names alone."""
    sweep: dict[str, list[str]] = {}
    for each in given:
        flag, equals, values = each.partition("=")
        name, texts = flag.lstrip("-").replace("-", "_"), values.split(",")
        if named_only and equals:
            raise UsageError(f"--sweep {each}: with --report-only name the flag alone, {flag}")
        if not named_only and not all([equals, *texts]):
            raise UsageError(
                f"--sweep {each}: write FLAG=VALUE,VALUE as in learning_rate=1e-4,3e-4"
            )
        if name in sweep:
            raise UsageError(f"--sweep {flag} is given twice; keep one")
        sweep[name] = [] if named_only else [text.strip() for text in texts]
    return sweep
