"""The model card says what the run's folder says, and nothing else."""

import dataclasses
import json
from pathlib import Path

import pytest
from saved_runs import saved_run

from wnrl.export.card import card, repository_name, scores, training_command
from wnrl.export.trained_run import TrainedRun, load_run
from wnrl.stats.intervals import t_interval
from wnrl.train.flags import parse_train_flags
from wnrl.train.storage.csv_log import EPISODES, EVALUATIONS, HEADERS

RETURNS = (9.0, 1.0, 2.0, 6.0, 50.0)
STEPS = (100, 144, 150, 160, 170)  # the last tenth before the checkpoint of 160 begins after 144
EVALUATED = ((80, 5, 7.25), (160, 6, 8.5), (170, 7, 99.0))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    folder = saved_run(
        tmp_path_factory.mktemp("runs") / "run", "ppo", "CartPole-v1", "layer"
    ).folder
    rows = (f"{s},0,{r},10,1.0,0\n" for s, r in zip(STEPS, RETURNS, strict=True))
    (folder / EPISODES).write_text(HEADERS[EPISODES] + "".join(rows))
    means = (f"{step},{count},{mean},20\n" for step, count, mean in EVALUATED)
    (folder / EVALUATIONS).write_text(HEADERS[EVALUATIONS] + "".join(means))
    return load_run(folder)


def test_scores_are_those_up_to_the_checkpoint(run: TrainedRun) -> None:
    evaluation, training = scores(run)
    assert (evaluation.interval.value, evaluation.episodes) == (8.5, 6)
    assert not evaluation.interval.bounded  # the run records the mean alone
    assert "at agent step 160" in evaluation.measured
    assert training.interval == t_interval([2.0, 6.0])
    assert training.episodes == 2


def test_the_card_has_the_facts_the_scores_and_the_files(run: TrainedRun) -> None:
    text = card(run, {"policy.onnx": "the policy"})
    assert text.startswith("# ppo with norm layer on CartPole-v1\n")
    for line in (
        "| seed | 1 |",
        "| agent steps | 160 of 160 (status: not recorded) |",
        "| protocol | the environment's own rules |",
        "| evaluation | 8.5 | not recorded | 6 | whole episodes at agent step 160, in environments "
        "apart from training |",
        "| `policy.onnx` | the policy |",
    ):
        assert f"\n{line}\n" in text, line
    assert "| training | 4 | [−21.41, 29.41] | 2 | episodes that ended in the last tenth" in text
    commit = run.software[0].commit
    assert (commit or "not recorded") in text
    assert "MIT licence" in text


def test_a_run_without_episodes_has_no_score(tmp_path: Path) -> None:
    run = load_run(saved_run(tmp_path / "run", "ppo", "CartPole-v1", "none").folder)
    text = card(run, {}, hub=True)
    assert "there is no score" in text
    assert "model-index" not in text


def test_the_command_trains_the_same_run_again(run: TrainedRun) -> None:
    explicit = ("env", "seed", "hidden", "steps", "run_dir", "threads", "clip_rewards")
    config = dataclasses.replace(run.config, explicit=explicit)
    changed = dataclasses.replace(run, parts=dataclasses.replace(run.parts, config=config))
    words = training_command(changed).split()
    assert words[:3] == ["python", "-m", "wnrl.train"]
    commands, settings = parse_train_flags(words[3:])
    assert commands == {}
    values = config.values
    assert settings.keys() == {*explicit, "agent", "norm"} - {"run_dir", "threads"}
    assert {name: int(settings[name].replace("_", "")) for name in ("seed", "hidden", "steps")} == {
        name: values[name] for name in ("seed", "hidden", "steps")
    }


def test_an_initialization_from_data_stays_in_the_command(tmp_path: Path) -> None:
    folder = saved_run(tmp_path / "run", "ppo", "CartPole-v1", "none").folder
    settings = json.loads((folder / "config.json").read_text())
    settings["run"]["init"] = "data"
    settings["explicit"].append("init")
    (folder / "config.json").write_text(json.dumps(settings))
    assert " --init data" in training_command(load_run(folder))


def test_the_hub_s_metadata_is_yaml_with_the_score(run: TrainedRun) -> None:
    yaml = pytest.importorskip("yaml")
    text = card(run, {}, hub=True)
    assert text.startswith("---\n")
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["pipeline_tag"] == "reinforcement-learning"
    assert "CartPole-v1" in front["tags"]
    (entry,) = front["model-index"]
    assert entry["name"] == repository_name(run) == "ppo-layer-CartPole-v1-seed1"
    (result,) = entry["results"]
    assert result["dataset"] == {"name": "CartPole-v1", "type": "CartPole-v1"}
    (metric,) = result["metrics"]
    assert (metric["type"], metric["value"]) == ("mean_reward", 8.5)
    assert text.split("---\n", 2)[2] == "\n" + card(run, {})


def test_text_of_a_stranger_stays_text(run: TrainedRun) -> None:
    yaml = pytest.importorskip("yaml")
    name = "x\n---\n| <b>y</b> ```"
    strange = dataclasses.replace(run.config.run, env=name)
    config = dataclasses.replace(run.config, run=strange)
    odd = dataclasses.replace(run, parts=dataclasses.replace(run.parts, config=config))
    text = card(odd, {}, hub=True)
    assert text.splitlines().count("---") == 2
    assert yaml.safe_load(text.split("---\n")[1])["tags"][-1] == name
    plain = card(run, {}).splitlines()
    assert len(text.split("\n---\n", 1)[1].splitlines()) == len(plain) + 1  # no line more
    assert r"\| \<b\>y" in text
    assert repository_name(odd).strip("-.").isascii()
    assert set(repository_name(odd)) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
