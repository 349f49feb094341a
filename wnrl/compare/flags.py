"""The command line of `wnrl.compare`: the flags of the grid, and every flag of `wnrl.train`."""

import argparse
import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from wnrl._settings import UsageError, flag_name, parse_fields, setting
from wnrl.agents.catalogue import get_agent
from wnrl.compare.grid import NOTHING_CHOSEN, Chosen, PlannedRun, make_grid
from wnrl.config import RunConfig, norm_named
from wnrl.envs.make import suite_members
from wnrl.envs.protocols import SETTINGS
from wnrl.report.comparison import DEFAULT_QUESTION, Question
from wnrl.report.verdicts.tuned import FIRST_SEED
from wnrl.stats.intervals import INDICATIVE_SEEDS
from wnrl.train.flags import Parser, add_import, add_settings, read_toml

PROGRAM = "python -m wnrl.compare"
DEFAULT_NORMS = (DEFAULT_QUESTION.baseline, "weight")
_SET_BY_GRID = {"seed": "--seeds", "run_dir": "--out"}  # settings of a run, and the grid's flags
_OF_THE_GAME = frozenset(
    {"env_kwargs", "protocol", *SETTINGS}
)  # settings that change what is played


@dataclasses.dataclass(frozen=True)
class CompareOptions:
    """Settings of a comparison, besides those of its runs."""

    seeds: int = setting(
        5, "seeds per combination, numbered from --first-seed", source="ours", minimum=1
    )
    first_seed: int = setting(
        1,
        "number of the first seed; to repeat a study, take seeds that it did not use and a new "
        "--out, because a report judges all runs of its folder together",
        source="ours",
        minimum=1,
    )
    until: str = setting(
        "",
        "`decided` to add seeds in stages, from --seeds to --max-seeds, for each normalization "
        "only until it is decided (without it: --seeds for all)",
        source="ours",
        choices=("decided",),
    )
    max_seeds: int = setting(
        20, "most seeds per combination; requires --until decided", source="ours", minimum=3
    )
    tune_seeds: int = setting(
        3,
        "seeds per combination that choose the values of --tune; none of them is judged",
        source="ours",
        minimum=1,
    )
    baseline: str = setting(
        "",
        "normalization that the others are compared with (without it: the one of an earlier "
        f"command in this folder, else {DEFAULT_QUESTION.baseline})",
        source="ours",
    )
    margin: float = setting(
        0.0,
        "smallest difference that matters, as a share of the baseline's score above random play "
        f"(0: that of an earlier command in this folder, else {DEFAULT_QUESTION.margin})",
        source="ours",
        minimum=0,
    )
    jobs: int = setting(
        0,
        "runs at a time (0: as many as do the most agent steps per second together, by a short "
        "measurement, within cores and memory)",
        source="ours",
        minimum=0,
    )
    ray: str = setting(
        "",
        "Ray cluster to run on, HOST:PORT or auto (without it: this machine)",
        source="ours",
    )
    gpus_per_run: float = setting(
        0.25,
        "share of a GPU that each run reserves if the cluster has GPUs; requires --ray",
        source="ours",
        minimum=0,
        maximum=1,
    )
    memory_per_run: int = setting(
        0,
        "memory that each run reserves on its node, in bytes (0: none); --dry-run shows how much a "
        "run needs; requires --ray",
        unit="bytes",
        source="ours",
        minimum=0,
    )
    only: int = setting(
        0,
        "number of the only run to execute, as listed by --dry-run; no report (0: all runs)",
        source="ours",
        minimum=0,
    )
    out: str = setting("runs/compare", "folder for the runs and the report", source="ours")

    def question(self, recorded: Question) -> Question:
        """Return the question of this command.

        Args:
            recorded: that of an earlier command in the folder.
        """
        return Question(self.baseline or recorded.baseline, self.margin or recorded.margin)


class CompareArguments(NamedTuple):
    """The parsed command line."""

    options: CompareOptions
    settings: dict[str, Any]  # common to all runs, by name, not yet checked
    envs: list[str]
    norms: list[str]
    sweep: dict[str, list[str]]
    tune: dict[str, list[str]]
    dry_run: bool
    report_only: Path | None
    modules: tuple[str, ...] = ()  # imported by this process and by every run
    seeds: range = range(0)  # of the grid
    chosen: Chosen = NOTHING_CHOSEN  # by --tune
    command: str = ""  # the command line, for the report

    def grid(self, out: Path) -> list[PlannedRun]:
        """Return all runs, whose folders are in `out`."""
        return make_grid(
            self.settings,
            envs=self.envs,
            norms=self.norms,
            sweep=self.sweep,
            seeds=self.seeds,
            out=out,
            modules=self.modules,
            chosen=self.chosen,
        )


def compare_parser(agent: str, norms: Sequence[str]) -> Parser:
    """Return the parser for a grid with this agent and these normalizations. Values stay text."""
    parser = Parser(
        prog=PROGRAM,
        usage=(
            f"{PROGRAM} --env NAME [NAME ...] --norm NAME [NAME ...] [--agent NAME] [--seeds N] "
            "[--steps N] [--sweep SETTING=VALUE,VALUE ...] [--jobs N | --ray ADDRESS] [--out DIR] "
            "[FLAG OF wnrl.train ...]"
        ),
        description=(
            "Train an agent with every combination of environment, normalization and seed, and "
            "write a report that compares the normalizations."
        ),
        epilog=(
            "Repeat a command to continue where it stopped. Precedence: default < preset < "
            "--config FILE < flag."
        ),
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    if agent != RunConfig.agent:
        parser.help_of = f"--agent {agent} "
    _add_grid_flags(parser.add_argument_group("the grid"))
    add_import(parser.add_argument_group("modules"))
    add_settings(parser, agent, norms, without=("env", "norm", *_SET_BY_GRID))
    return parser


def _add_grid_flags(group: Any) -> None:
    group.add_argument(
        "--env",
        nargs="+",
        action="extend",
        metavar="NAME",
        help="environments, such as Breakout or CartPole-v1; minatar is all five games of MinAtar "
        f"[default {RunConfig.env}]",
    )
    group.add_argument(
        "--norm",
        nargs="+",
        action="extend",
        metavar="NAME",
        help="normalizations to compare; `python -m wnrl.train --list-norms` describes them "
        f"[default {' '.join(DEFAULT_NORMS)}]",
    )
    for field in dataclasses.fields(CompareOptions):
        default = f" [default {field.default}]" if field.default != "" else ""
        text = field.metadata["meaning"] + default
        metavar = "STR" if isinstance(field.default, str) else type(field.default).__name__.upper()
        group.add_argument(f"--{flag_name(field.name)}", metavar=metavar, help=text)
    group.add_argument(
        "--sweep",
        nargs="+",
        action="extend",
        metavar="SETTING=VALUE,VALUE",
        help="settings of wnrl.train to vary as well, for example learning_rate=1e-4,3e-4",
    )
    group.add_argument(
        "--tune",
        nargs="+",
        action="extend",
        metavar="SETTING=VALUE,VALUE",
        help="settings of wnrl.train whose values are chosen for each normalization, by their "
        "final returns over all games, on seeds that are not judged",
    )
    group.add_argument("--config", metavar="FILE", help="TOML file with settings by name")
    group.add_argument(
        "--dry-run",
        action="store_true",
        help="list of the runs, with expected time and memory; runs nothing",
    )
    group.add_argument(
        "--report-only",
        metavar="DIR",
        help="folder of existing runs to report on; runs nothing. Add --sweep SETTING to compare "
        "runs that differ in a setting",
    )


def parse_compare_flags(arguments: Sequence[str]) -> CompareArguments:
    """Parse the command line; settings of the runs are checked later, by `make_config`.

    Raises:
        UsageError: an unknown flag, agent, normalization or file, or flags that exclude each other.
    """
    agent, norms, from_file = _choices(arguments)
    given = compare_parser(agent, list(dict.fromkeys(norms))).parse(arguments)
    given.pop("import", None)  # done by `import_named`
    excluded = sorted(set(given) - {"report_only", "sweep", "baseline", "margin"})
    if "report_only" in given and excluded:
        raise UsageError(
            "--report-only runs nothing and takes only --sweep, --baseline and --margin; drop "
            f"--{flag_name(excluded[0])}"
        )
    envs = given.pop("env", [from_file.pop("env", RunConfig.env)])
    given.pop("norm", None)
    given.pop("config", None)
    dry_run, report_only = given.pop("dry_run", False), given.pop("report_only", None)
    sweep = _parse_values("sweep", given.pop("sweep", []), names_only=report_only is not None)
    tune = _parse_values("tune", given.pop("tune", []))
    option_names = {field.name for field in dataclasses.fields(CompareOptions)}
    options = parse_fields(CompareOptions, {n: v for n, v in given.items() if n in option_names})
    _check_options(options)
    baseline = options.get("baseline") or DEFAULT_QUESTION.baseline
    checked = CompareOptions(**options)
    most = checked.max_seeds if checked.until else checked.seeds
    seeds = range(checked.first_seed, checked.first_seed + most)
    _check_tuning(options, sweep, tune, seeds)
    return CompareArguments(
        options=checked,
        settings={**from_file, **{n: v for n, v in given.items() if n not in option_names}},
        envs=[member for env in envs for member in _members(env)],
        norms=sorted(norms, key=lambda norm: norm != baseline),  # the baseline first
        sweep=sweep,
        tune=tune,
        dry_run=dry_run,
        report_only=None if report_only is None else Path(report_only),
        seeds=seeds,
    )


def _members(env: Any) -> Sequence[Any]:
    """Return the games of a suite, or the value itself: one of a file may not be text."""
    return suite_members(env) if isinstance(env, str) else [env]


def _choices(arguments: Sequence[str]) -> tuple[str, list[str], dict[str, Any]]:
    """Return the agent and the normalizations, which decide what flags exist, and the file."""
    peek = Parser(
        prog=PROGRAM, add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS
    )
    for flag in ("--agent", "--config"):
        peek.add_argument(flag)
    peek.add_argument("--norm", nargs="+", action="extend")
    first = vars(peek.parse_known_args(arguments)[0])
    from_file = read_toml(first["config"]) if "config" in first else {}
    for name, flag in _SET_BY_GRID.items():
        if name in from_file:
            raise UsageError(f"--config: {name} differs between runs; remove it and use {flag}")
    agent = get_agent(first.get("agent", from_file.get("agent", RunConfig.agent))).name
    in_file = [from_file.pop("norm")] if "norm" in from_file else DEFAULT_NORMS
    norms = [norm_named(norm) for norm in first.get("norm", in_file)]
    return agent, norms, from_file


def _check_options(options: Mapping[str, Any]) -> None:
    """Refuse flags that do not apply to the place where the runs will be done."""
    for name in ("gpus_per_run", "memory_per_run"):
        if name in options and not options.get("ray"):
            raise UsageError(f"--{flag_name(name)} requires --ray")
    if "until" in options:
        _check_stages(options)
    elif "max_seeds" in options:
        raise UsageError("--max-seeds requires --until decided; give both, or only --seeds")
    for name in ("ray", "jobs"):
        if options.get("only") and options.get(name):
            raise UsageError(f"--only executes one run on this machine; drop --{name}")


def _check_stages(options: Mapping[str, Any]) -> None:
    if options.get("first_seed", 1) != 1:
        raise UsageError(
            "--first-seed needs a fixed number of seeds, because stages begin with seed 1; drop "
            "--first-seed, or --until"
        )
    fewest = options.get("seeds", CompareOptions.seeds)
    most = options.get("max_seeds", CompareOptions.max_seeds)
    if not INDICATIVE_SEEDS <= fewest <= most:
        raise UsageError(
            f"--seeds {fewest} is the first stage of --until decided; it must be from "
            f"{INDICATIVE_SEEDS} to --max-seeds, {most}"
        )
    if options.get("only"):
        raise UsageError(
            "--only cannot run a stage, because the next seeds depend on all results; drop --until "
            "and --max-seeds, or run --until decided on one machine or with --ray"
        )


def _check_tuning(
    options: Mapping[str, Any], sweep: Collection[str], tune: Collection[str], seeds: range
) -> None:
    if "tune_seeds" in options and not tune:
        raise UsageError("--tune-seeds requires --tune; give both, or only --seeds")
    if sweep and tune:
        raise UsageError(
            "--sweep compares values and --tune chooses one for each normalization; give one of "
            "them"
        )
    for name in _OF_THE_GAME.intersection(tune):
        raise UsageError(
            f"--tune {name}: it changes the game, and normalizations are compared in one game; "
            "leave it out, or compare games with --sweep"
        )
    if tune and seeds[-1] >= FIRST_SEED:
        raise UsageError(
            f"--tune with seeds up to {seeds[-1]:,}: judged seeds end at {FIRST_SEED - 1:,}, "
            f"because those from {FIRST_SEED:,} on choose values; lower --first-seed, --seeds or "
            "--max-seeds"
        )
    if tune and options.get("only"):
        raise UsageError(
            "--only cannot run a part of --tune, because the judged runs depend on what all tuning "
            "runs show; drop --only, or use --ray"
        )


def _parse_values(
    flag: str, given: Sequence[str], *, names_only: bool = False
) -> dict[str, list[str]]:
    """Return the values by setting; without values if only the names are wanted."""
    found: dict[str, list[str]] = {}
    for each in given:
        setting, equals, values = each.partition("=")
        name, texts = setting.lstrip("-").replace("-", "_"), values.split(",")
        if names_only and equals:
            raise UsageError(f"--{flag} {each}: --report-only takes only the name, {setting}")
        if not names_only and not all([equals, *texts]):
            raise UsageError(
                f"--{flag} {each}: write SETTING=VALUE,VALUE, for example learning_rate=1e-4,3e-4"
            )
        if name in found:
            raise UsageError(f"--{flag} {setting} is given twice; give it only once")
        found[name] = [] if names_only else [text.strip() for text in texts]
    return found
