"""The model card in Markdown: what the run's folder says about the policy, and nothing else."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch

from wnrl import __version__
from wnrl.export.trained_run import TrainedRun
from wnrl.report.number_format import compact, ends
from wnrl.report.run_result import WINDOW_FRACTION, read_columns, read_episodes
from wnrl.stats.intervals import Interval, t_interval
from wnrl.stats.learning_curves import final_returns
from wnrl.train.flags import as_flag
from wnrl.train.foreign_text import markdown, markdown_table, quoted_line
from wnrl.train.storage.csv_log import EPISODES, EVALUATIONS
from wnrl.train.storage.run_folder import read_config_file
from wnrl.train.storage.run_status import STATUS, read_status

CARD = "README.md"
_MACHINE = ("run_dir", "device", "threads", "graphs", "hang_timeout_s", "progress_every_s")
_MISSING = "not recorded"


class Score(NamedTuple):
    """A mean raw return."""

    name: str
    interval: Interval  # 95%; without ends if the episodes' own returns are not recorded
    episodes: int
    measured: str  # how, in words


def scores(run: TrainedRun) -> list[Score]:
    """Return the newest evaluation up to the checkpoint and the last training episodes.

    Raises:
        UsageError: a table of the run cannot be read.
    """
    return [*_evaluation(run), *_training(run)]


def _evaluation(run: TrainedRun) -> Iterator[Score]:
    columns = ("agent_step", "episodes", "mean_raw_return")
    rows = [
        row
        for row in read_columns(run.folder / EVALUATIONS, *columns).tolist()
        if row[0] <= run.agent_steps
    ]
    if rows:
        step, episodes, mean = rows[-1]
        epsilon = run.parts.evaluation_epsilon
        yield Score(
            "evaluation",
            Interval(mean, math.nan, math.nan),
            int(episodes),
            f"whole episodes at agent step {step:,.0f}, in environments apart from training"
            + (f", with a random action in {epsilon:.1%} of the steps" if epsilon else ""),
        )


def _training(run: TrainedRun) -> Iterator[Score]:
    steps, returns, *_ = read_episodes(run.folder / EPISODES)
    chosen = final_returns(
        steps,
        returns,
        total_steps=run.agent_steps,
        window_steps=max(1.0, WINDOW_FRACTION * run.agent_steps),
    )
    if len(chosen):
        yield Score(
            "training",
            t_interval(chosen),
            len(chosen),
            "episodes that ended in the last tenth of the agent steps before the checkpoint, or "
            "as many steps before the last episode that ended; played while it learnt and explored",
        )


def card(run: TrainedRun, files: Mapping[str, str], *, hub: bool = False) -> str:
    """Return the card.

    Args:
        run: the run.
        files: by name, what each file in the folder is.
        hub: whether to begin with the metadata of the Hugging Face Hub, as YAML.

    Raises:
        UsageError: a table of the run cannot be read.
    """
    setup, measured = run.config.run, scores(run)
    front = _front_matter(run, measured) if hub else ()
    title = f"{setup.agent} with norm {setup.norm} on {setup.env}"
    lines = [
        *front,
        f"# {markdown(title)}",
        "",
        "A policy trained by wnrl, which compares normalizations in deep reinforcement learning.",
        "",
        *markdown_table(("", ""), _facts(run)),
        "",
        "## Score",
        "",
        *_score_lines(measured),
        "",
        "## Training",
        "",
        "```",
        training_command(run),
        "```",
        "",
        *markdown_table(("from agent step", "wnrl", "commit", "torch", "started"), _parts(run)),
        "",
        "## Files",
        "",
        *markdown_table(("file", "content"), ((f"`{name}`", text) for name, text in files.items())),
        "",
        "Loading an `sb3.zip` or another pickle runs code from it: load only files that you trust.",
        "",
        "## Licence",
        "",
        "The code, wnrl, is under the MIT licence. It says nothing about these weights, whose "
        "licence their owner chooses.",
    ]
    return "\n".join(lines) + "\n"


def _facts(run: TrainedRun) -> Iterator[tuple[str, str]]:
    setup = run.config.run
    recorded = (run.folder / STATUS).exists()
    status = read_status(run.folder).state if recorded else _MISSING
    yield "environment", markdown(f"{setup.env} {setup.env_kwargs}")
    protocol = run.config.protocol
    yield (
        "protocol",
        markdown(protocol.description if protocol else "the environment's own rules"),
    )
    yield "agent", markdown(setup.agent)
    settings = ", ".join(f"{name} {value}" for name, value in vars(run.config.norm).items())
    yield "normalization", markdown(f"{setup.norm}{f' ({settings})' if settings else ''}")
    yield "seed", str(setup.seed)
    yield "agent steps", f"{run.agent_steps:,} of {setup.steps:,} (status: {status})"
    yield "observation", markdown(run.facts["observation"])
    yield "actions", str(run.spec.num_actions)
    yield "exported with", f"wnrl {__version__}, torch {torch.__version__}"


def _score_lines(measured: list[Score]) -> Iterator[str]:
    if not measured:
        yield "No episode had ended by this checkpoint, and none was evaluated: there is no score."
        return
    yield from markdown_table(
        ("", "mean raw return", "95% interval", "episodes", "measured on"),
        (
            (
                score.name,
                compact(score.interval.value, significant=4),
                ends(score.interval.low, score.interval.high, 2) or _MISSING,
                f"{score.episodes:,}",
                score.measured,
            )
            for score in measured
        ),
    )
    yield ""
    yield (
        "Intervals are Student's t over the episodes of this one run. They say nothing about other "
        "seeds. Where the run recorded only the mean, there is no interval."
    )


def training_command(run: TrainedRun) -> str:
    """Return the command that trains the run again, without what only its machine decided."""
    values, modules = run.config.values, read_config_file(run.folder).modules
    explicit = [x for x in run.config.explicit if x not in (*_MACHINE, "env", "agent", "norm")]
    given = {name: values[name] for name in ("env", "agent", "norm", *sorted(explicit))}
    flags = (as_flag(name, value).split(" ", 1) for name, value in given.items())
    imports = (argument for module in modules for argument in ("--import", module))
    words = [word for flag in flags for word in flag]
    return f"python -m wnrl.train {quoted_line((*words, *imports))}"


def _parts(run: TrainedRun) -> Iterator[tuple[str, ...]]:
    for part in run.software:
        yield (
            f"{part.from_agent_step:,}",
            *(
                markdown(text or _MISSING)
                for text in (
                    part.versions.get("wnrl"),
                    part.commit,
                    part.versions.get("torch"),
                    part.started,
                )
            ),
        )


def _front_matter(run: TrainedRun, measured: list[Score]) -> Iterator[str]:
    """Yield the metadata that the Hub reads, as YAML; texts are quoted as JSON, which YAML is."""
    setup = run.config.run
    yield "---"
    yield "library_name: wnrl"
    yield "pipeline_tag: reinforcement-learning"
    yield "tags:"
    for tag in ("deep-reinforcement-learning", "reinforcement-learning", setup.agent, setup.env):
        yield f"- {json.dumps(tag)}"
    if measured:
        result = {
            "task": {"type": "reinforcement-learning", "name": "reinforcement-learning"},
            "dataset": {"name": setup.env, "type": setup.env},
            "metrics": [
                {
                    "type": "mean_reward",
                    "name": f"mean raw return of {score.episodes} episodes ({score.name})",
                    "value": round(score.interval.value, 6),
                    "verified": False,
                }
                for score in measured[:1]
            ],
        }
        yield "model-index:"
        yield f"- name: {json.dumps(repository_name(run))}"
        yield f"  results: {json.dumps([result])}"
    yield "---"
    yield ""


def repository_name(run: TrainedRun) -> str:
    """Return a name for the run in letters that the Hub takes."""
    setup = run.config.run
    name = f"{setup.agent}-{setup.norm}-{setup.env}-seed{setup.seed}"
    return "".join(x if x.isascii() and (x.isalnum() or x in "._-") else "-" for x in name)[:90]
