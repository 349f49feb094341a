"""Let `--init data` give the heads' outputs a deviation of 0.1: a look for the reason of a result.

python -m wnrl.train --import scripts.study.variants --import scripts.study.small_heads \
    --norm none-data --env MinAtar/Asterix-v1 --agent pqn --learning-rate 0.002 --steps 500_000
"""

from functools import partial

from wnrl.train import build

build.init_from_data_ = partial(build.init_from_data_, head_scale=0.1)  # type: ignore[assignment]
