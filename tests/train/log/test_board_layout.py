"""The Custom Scalars page shows every curve that a run writes about its normalization."""

import re
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing import event_accumulator
from tensorboard.plugins.custom_scalar import layout_pb2

from wnrl.train import command
from wnrl.train.log.board_layout import LAYOUT

accumulator: Any = event_accumulator.EventAccumulator
written_layout: Any = vars(layout_pb2)["Layout"]


def test_the_page_is_written_once_and_shows_every_instrument(tmp_path: Path) -> None:
    arguments = ["--env=toy/Catch", "--warmup-steps=200", "--no-calibrate", "--norm=batch"]
    arguments += ["--eval-every-steps=200", "--instruments-every-updates=20", "--no-wall-time"]
    arguments += ["--curvature-every-updates=20"]
    for norm in ("batch", "weight"):
        folder = tmp_path / norm
        run = [*arguments, f"--norm={norm}", f"--run-dir={folder}"]
        assert command.main([*run, "--steps=300"]) == 0
        assert command.main(["--resume", str(folder), "--steps=320"]) == 0
        events: Any = accumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
        events.Reload()
        (tensor,) = events.Tensors("custom_scalars__config__")
        layout = written_layout.FromString(tensor.tensor_proto.string_val[0])
        assert {c.title: {chart.title for chart in c.chart} for c in layout.category} == {
            category: set(charts) for category, charts in LAYOUT.items()
        }
        shown = [tag for c in layout.category for chart in c.chart for tag in chart.multiline.tag]
        scalars = events.Tags()["scalars"]
        instruments = [tag for tag in scalars if tag.startswith("norm/") or "share" in tag]
        assert len(instruments) > 30
        # Of a tag with both kinds TensorBoard shows the one that came first.
        assert set(scalars).isdisjoint(events.Tags()["histograms"])
        assert ("norm/v_norm/torso.layers.hidden1" in scalars) == (norm == "weight")
        for tag in instruments:
            assert len([pattern for pattern in shown if re.match(pattern, tag)]) == 1, tag


def test_every_pattern_is_a_whole_tag_or_a_tag_by_layer() -> None:
    for charts in LAYOUT.values():
        for tags in charts.values():
            for tag in tags:
                assert tag.startswith("^")
                assert tag.endswith(("$", "/.*"))
