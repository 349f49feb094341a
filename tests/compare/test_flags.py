"""Flags of a comparison: what is compared without them, and in which order."""

from pathlib import Path

import pytest
from made_results import made_result

from wnrl.compare import final_report
from wnrl.compare.flags import CompareOptions, parse_compare_flags
from wnrl.report.comparison import variant_of
from wnrl.report.find_runs import Inventory, Record


def test_without_a_normalization_weight_is_compared_with_none(tmp_path: Path) -> None:
    assert parse_compare_flags([]).norms == ["none", "weight"]
    assert parse_compare_flags(["--norm", "layer"]).norms == ["layer"]
    (tmp_path / "one.toml").write_text('norm = "batch"\n')
    assert parse_compare_flags([f"--config={tmp_path}/one.toml"]).norms == ["batch"]


def test_a_suite_stands_for_its_games(tmp_path: Path) -> None:
    games = [f"MinAtar/{x}-v1" for x in ("Asterix", "Breakout", "Freeway", "Seaquest")]
    games.append("MinAtar/SpaceInvaders-v1")
    assert parse_compare_flags(["--env", "Pong", "minatar"]).envs == ["Pong", *games]
    (tmp_path / "one.toml").write_text('env = "minatar"\n')
    assert parse_compare_flags([f"--config={tmp_path}/one.toml"]).envs == games


def test_the_baseline_comes_first() -> None:
    names = ["weight", "layer", "none", "batch"]
    assert parse_compare_flags(["--norm", *names]).norms == ["none", "weight", "layer", "batch"]
    given = parse_compare_flags(["--norm", *names, "--baseline=layer"])
    assert given.norms == ["layer", "weight", "none", "batch"]


def test_seeds_are_numbered_from_the_first() -> None:
    assert parse_compare_flags(["--seeds=3"]).seeds == range(1, 4)
    given = parse_compare_flags(["--seeds=3", "--first-seed=11"])
    assert given.seeds == range(11, 14)
    assert {x.config.run.seed for x in given.grid(Path("runs"))} == {11, 12, 13}


def test_the_baseline_comes_first_in_a_report_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    norms = ["batch", "weight", "none"]
    runs = [
        made_result([1.0, 2.0 + seed], env="toy/Catch", norm=norm, seed=seed)
        for norm in norms
        for seed in (1, 2)
    ]
    planned = tuple(("toy/Catch", variant_of({"norm": norm}, [])) for norm in norms)
    inventory = Inventory(tuple(runs), planned, (), {}, (), Record([], {}))
    monkeypatch.setattr(final_report, "take_inventory", lambda *_: inventory)
    seen = []
    monkeypatch.setattr(final_report, "write_figures", lambda out, x: seen.append(x) or [])
    monkeypatch.setattr(final_report, "write_page", lambda out, *_: out / "report.html")
    monkeypatch.setattr(final_report, "write_means", lambda *_: None)
    monkeypatch.setattr(final_report, "scores_csv", lambda *_: "")
    monkeypatch.setattr(final_report, "downloads", lambda *_: [])
    final_report.write_report(tmp_path, CompareOptions())
    (game,) = seen[0].games
    assert [scores.variant.norm for scores in game.variants] == ["none", "batch", "weight"]
