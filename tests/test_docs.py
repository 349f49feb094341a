"""The documentation: its links, commands, flags and figures hold, and its examples run."""

import csv
import json
import re
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import gymnasium
import pytest
import torch
from own_parts import EXAMPLES
from script_modules import load_script

from wnrl.agents.catalogue import _AGENTS, AGENTS
from wnrl.compare.flags import compare_parser
from wnrl.config import make_config
from wnrl.envs.make import make_env
from wnrl.nn import NETWORKS, NORMS, weight_norm_groups
from wnrl.nn.norms.record import KINDS
from wnrl.optim import OptimizerSpec
from wnrl.optim.rules import REGISTERED
from wnrl.train import command as train_command
from wnrl.train import run as train
from wnrl.train.flags import read_toml, train_parser

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "scripts" / "results"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    RESULTS / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
EXAMPLE_LINES = 19  # "under 20", imports included
README_LINES = 250
RUN_BY = {  # the tests that run a page's blocks of code
    "README.md": "sb3/test_examples.py",
    "docs/comparing.md": "compare/test_optuna.py",  # and below
    "docs/environments.md": "test_docs.py",
    "docs/export.md": "export/test_command.py",
    "docs/instruments.md": "test_docs.py",
    "docs/sb3.md": "sb3/test_examples.py",  # and sb3/test_zoo.py
    "docs/sb3_which.md": "sb3/test_examples.py",
    "docs/training.md": "test_docs.py",
    "docs/weight_norm.md": "test_docs.py",
    "docs/your_own_parts.md": "own_parts.py",  # for several tests
}
FOLDERS = {"wnrl", "agents", "scripts", "tests", "docs", "docker", ".ci"}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


each_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


def without_code(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", without_code(page.read_text()), flags=re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)


def commands() -> Iterator[tuple[str, str]]:
    """Yield every command line of the documentation and the page that it is on."""
    for page in PAGES:
        text = page.read_text()
        lines = "\n".join(blocks(page, "")).replace("\\\n", " ").splitlines()
        inline = [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", without_code(text))]
        for line in [*lines, *inline]:
            for part in re.split(r"&&|\s#|;", line):
                if match := re.search(r"python (?:-m wnrl|scripts/).*", part):
                    yield match[0], name_of(page)


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES


def test_readme_has_every_normalization() -> None:
    rows = table_rows(ROOT / "README.md", "Normalizations")
    assert sorted(re.findall(r"`([\w-]+)`", " ".join(row[0] for row in rows))) == sorted(NORMS)


def test_every_page_is_in_the_table_of_contents() -> None:
    contents = (ROOT / "docs" / "README.md").read_text()
    missing = [
        page.name for page in (ROOT / "docs").glob("*.md") if f"({page.name})" not in contents
    ]
    assert missing == ["README.md"]


def test_every_fault_in_the_table_has_its_test() -> None:
    rows = re.findall(
        r"^\| .* \| `(\S+)::(\w+)` \|$", (ROOT / "docs" / "reliability.md").read_text(), re.M
    )
    (said,) = re.findall(r"\[(\d+) faults\]", (ROOT / "README.md").read_text())
    assert len(rows) == int(said) >= 40
    missing = [f"{file}::{test}" for file, test in rows if f"def {test}(" not in _text(file)]
    assert missing == []


def _text(file: str) -> str:
    path = ROOT / file
    return path.read_text() if path.exists() else ""


def test_every_page_with_code_is_run_by_a_test() -> None:
    pages = {name_of(page) for page in PAGES if re.search(r"^```\w", page.read_text(), re.M)}
    assert pages == RUN_BY.keys()
    for page, file in RUN_BY.items():
        assert Path(page).name in (ROOT / "tests" / file).read_text()


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text())):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked), target


@each_page
def test_named_paths_exist(page: Path) -> None:
    for path in re.findall(r"`([\w.]+/[\w./-]*)`", without_code(page.read_text())):
        if path.split("/")[0] in FOLDERS:
            assert (ROOT / path).exists(), path


def test_named_commands_exist() -> None:
    found = list(commands())
    assert len(found) > 40
    for command, page in found:
        target = re.sub(r"^python (-m )?", "", command).split()[0].rstrip(",.")
        if target.startswith("wnrl"):
            path = ROOT / target.replace(".", "/")
            assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), (
                page,
                target,
            )
        else:
            assert (ROOT / target).exists(), (page, target)


def test_named_flags_exist() -> None:
    """Every flag on a line of `wnrl.train` or `wnrl.compare` is one of its parser."""
    for command, page in commands():
        words = command.split()
        norm = re.search(r"--norm ((?:[a-z0-9-]+ ?)+?)(?= --|$)", command)
        norms = [name for name in (norm[1].split() if norm else []) if name in NORMS] or ["weight"]
        agent = re.search(r"--agent (\w+)", command)
        name = agent[1] if agent and agent[1] in AGENTS else "dqn"
        if words[2:3] == ["wnrl.train"]:
            parser = train_parser(name, norms[0])
        elif words[2:3] == ["wnrl.compare"]:
            parser = compare_parser(name, norms)
        else:
            continue
        for flag in re.findall(r"--[a-z][\w.-]*", command):
            assert flag in parser._option_string_actions, (page, command, flag)


def test_named_settings_exist() -> None:
    """Every flag that stands alone in backticks is one of some command."""
    known = {"--time", "--signal", "--build", "--gym-packages"}  # of other programs
    for name in AGENTS:
        known |= set(train_parser(name, "none")._option_string_actions)
    for name in NORMS:
        known |= set(train_parser("dqn", name)._option_string_actions)
    known |= set(compare_parser("dqn", ["none"])._option_string_actions)
    for command in ("evaluate", "curvature", "export"):
        text = (ROOT / "wnrl" / command / "command.py").read_text()
        known |= set(re.findall(r'"(--[a-z-]+)"', text))
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for flag in re.findall(r"`(--[a-z][\w.-]*)[ `]", without_code(page.read_text())):
            assert flag in known, (name_of(page), flag)


def test_one_dqn_update_is_short_to_read() -> None:
    rows = table_rows(ROOT / "docs" / "dqn_update.md", "One DQN update")
    names = [re.findall(r"`(.+?)`", cell) for row in rows for cell in row[:2]]
    shape = load_script("shape.py")
    total = 0
    for (file,), wanted in zip(names[::2], names[1::2], strict=True):
        text = (ROOT / file).read_text()
        total += len(shape.Source(ROOT / file).code_lines)
        for name in wanted:
            assert re.search(rf"^ *(def|class) {name.split('.')[-1]}\b", text, re.MULTILINE), name
    assert len(rows) <= 6
    assert total < 900


def table_rows(page: Path, heading: str) -> list[list[str]]:
    section = page.read_text().split(f"# {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("| \n").split(" | ") for line in section.splitlines() if line[:1] == "|"]
    return rows[2:]


def csv_rows(name: str) -> list[dict[str, str]]:
    with (RESULTS / name).open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("heading", "file"),
    [
        ("Agents, against Stable-Baselines3", "bench_train_cpu.csv"),
        ("Inside Stable-Baselines3", "bench_sb3_cpu.csv"),
    ],
)
def test_speeds_are_those_of_the_csv(heading: str, file: str) -> None:
    measured = {row["agent"]: row for row in csv_rows(file)}
    rows = table_rows(ROOT / "docs" / "speed.md", heading)
    assert len(rows) > 5
    for name, speed, ratio, *_ in rows:
        row = measured[name.strip("`")]
        assert (
            abs(float(speed.split()[0].replace(",", "")) - float(row["steps_per_s_median"])) <= 0.5
        )
        assert abs(float(ratio.split()[0].rstrip("| ")) - float(row["ratio_median"])) <= 0.0051


def costs_of_normalizations() -> dict[tuple[str, str], float]:
    """Return the ratio to `none` by variant and work, such as `update 32`."""
    return {
        (row["variant"], f"{row['what']} {row['size']}"): float(row["ratio"])
        for row in csv_rows("bench_norms_cpu.csv")
    }


def test_costs_of_normalizations_are_those_of_the_csv() -> None:
    measured = costs_of_normalizations()
    rows = table_rows(ROOT / "docs" / "speed.md", "What each normalization costs")
    assert {row[0].strip("`") for row in rows} >= set(NORMS) - {"none"}
    for name, *ratios in rows:
        for what, ratio in zip(("act 1", "act 8", "update 32", "update 256"), ratios, strict=True):
            assert abs(float(ratio) - measured[name.strip("`"), what]) < 0.0051


def test_paragraphs_of_normalizations_have_their_group_and_the_figures_of_the_csv() -> None:
    measured = costs_of_normalizations()
    returns = {
        (row["norm"], agent): float(row["mean_return_last_20"])
        for agent in ("dqn", "pqn")
        for row in csv_rows(f"run_catalogue_cartpole_{agent}.csv")
    }
    page = (ROOT / "docs" / "normalizations.md").read_text().split("\n## Each of them\n")[1]
    none = tuple(round(returns["none", agent]) for agent in ("dqn", "pqn"))
    assert f"where `none` has {none[0]} and {none[1]})" in " ".join(page.split())
    sections = re.split(r"\n### (.+)\n", page.split("\n## ")[0])[1:]
    assert [title.lower() for title in sections[::2]] == list(KINDS)
    found = []
    for title, text in zip(sections[::2], sections[1::2], strict=True):
        for paragraph in text.strip().split("\n\n"):
            plain = " ".join(paragraph.split())
            match = re.fullmatch(
                r"\*\*`(.+?)`\*\*: .* Cost: action (\S+), update (\S+)\. First result: (.+)\.",
                plain,
            )
            assert match, plain
            name, action, update, first = match.groups()
            assert NORMS[name].kind == title.lower(), name
            assert abs(float(action) - measured[name, "act 1"]) < 0.0051
            assert abs(float(update) - measured[name, "update 32"]) < 0.0051
            if first.startswith("one run"):
                for agent, value in re.findall(r"(DQN|PQN) (\d+)", first):
                    assert int(value) == round(returns[name, agent.lower()]), name
            found.append(name)
    assert sorted(found) == sorted(set(NORMS) - {"none"})


def test_verdicts_of_recognition_are_those_of_the_csv() -> None:
    def ratio(row: dict[str, str]) -> str:
        value, low, high = (round(float(row[end]), 2) for end in ("value", "low", "high"))
        return f"{value:.2f} [{low:.2f}, {high:.2f}]"

    measured = {
        (row["measure"], row["variant"], row["compared_with"]): row
        for row in csv_rows("applications/recognition_verdicts.csv")
    }
    words = {"no difference larger than the margin": "within the margin"}
    rows = table_rows(ROOT / "docs" / "applications.md", "Recognition: measured")
    assert len(rows) > 5
    for variant, other, by_steps, claim, by_time in rows:
        pair = variant.replace("`", ""), other.replace("`", "")
        steps, time = (measured[f"mean_loss_by_{of}", *pair] for of in ("steps", "cpu_time"))
        assert (by_steps, by_time) == (ratio(steps), ratio(time)), pair
        assert claim == words.get(steps["verdict"], steps["verdict"]), pair


@pytest.fixture
def own_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run in an empty folder, and take out of the catalogues what the example added."""
    tables = (NORMS, NETWORKS, _AGENTS, REGISTERED, gymnasium.registry)
    before = [dict(table) for table in tables]
    threads = torch.get_num_threads()
    monkeypatch.setattr(train, "measure_speed", partial(train.measure_speed, budget_s=0.2))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    yield
    for table, entries in zip(tables, before, strict=True):
        for name in table.keys() - entries.keys():
            del table[name]
    for name in EXAMPLES:
        sys.modules.pop(name, None)
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", ["my_norm", "my_network", "corridor", "my_optimizer", "d3qn"])
@pytest.mark.usefixtures("own_tables")
def test_the_example_of_an_own_part_trains_with_its_command(name: str, tmp_path: Path) -> None:
    example = EXAMPLES[name]
    assert len([line for line in example.source.splitlines() if line.strip()]) <= EXAMPLE_LINES
    assert example.command[:3] == ["python", "-m", "wnrl.train"]
    (tmp_path / f"{name}.py").write_text(example.source)  # the current folder
    short = ["--steps=600", "--no-calibrate", "--eval-every-steps=0", "--run-dir=run"]
    assert train_command.main([*example.command[3:], *short]) == 0
    assert len((tmp_path / "run" / "episodes.csv").read_text().splitlines()) > 5
    assert json.loads((tmp_path / "run" / "config.json").read_text())["modules"] == [name]


def test_every_own_part_is_an_example() -> None:
    assert list(EXAMPLES) == ["my_norm", "my_network", "corridor", "my_optimizer", "d3qn"]


@pytest.mark.usefixtures("own_tables")
def test_the_example_of_weight_normalization_runs() -> None:
    (example,) = blocks(ROOT / "docs" / "weight_norm.md", "python")
    exec(example, {})


@pytest.mark.usefixtures("own_tables")
def test_the_examples_of_environments_run(capsys: pytest.CaptureFixture[str]) -> None:
    keywords, vector = blocks(ROOT / "docs" / "environments.md", "python")
    exec(keywords, {})
    (name,) = re.findall(r"# (dqn-.*)", keywords)
    assert capsys.readouterr().out == f"{name}\n"
    exec(vector.replace('"async"', '"sync"'), {})  # which starts no processes
    env = make_env("ParallelCartPole-v0", 3, seed=0)
    env.reset()
    assert env.obs.shape == (3, 4)


@pytest.mark.usefixtures("own_tables")
def test_the_example_of_training_from_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = blocks(ROOT / "docs" / "training.md", "python")
    short = example.replace("150_000", "600").replace("Breakout", "toy/Catch")
    exec(short.replace('preset="fast", ', ""), {})
    assert len(capsys.readouterr().out.splitlines()) > 20


@pytest.mark.usefixtures("own_tables")
def test_the_example_of_a_variant_registers_it() -> None:
    searching, example = blocks(ROOT / "docs" / "comparing.md", "python")
    assert searching.startswith("# search.py")  # tests/compare/test_optuna.py runs it
    exec(example, {})
    assert make_config(env="CartPole-v1", norm="weight-data").run.init == "data"


def test_the_example_of_instruments_reads() -> None:
    (example,) = blocks(ROOT / "docs" / "instruments.md", "python")
    network = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    obs = torch.ones(128, 3)
    names = {
        "network": network,
        "optimizer": OptimizerSpec("adam", 1e-3).build(weight_norm_groups(network)),
        "obs": obs,
        "loss": network(obs).square().mean(),
    }
    exec(example, names)
    reading = names["reading"]
    assert isinstance(reading, dict)
    assert "norm/policy_churn" in reading


def test_the_example_of_a_settings_file_is_read(tmp_path: Path) -> None:
    (example,) = blocks(ROOT / "docs" / "training.md", "toml")
    path = tmp_path / "run.toml"
    path.write_text(example)
    settings = read_toml(str(path))
    assert make_config(settings).values["norm.eps"] == 1e-3
