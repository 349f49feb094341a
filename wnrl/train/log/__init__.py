"""The logs of a run while it trains: episodes, evaluations, TensorBoard and progress lines.

TensorBoard files and progress lines are for people and write-only. Checkpoints and the run's folder
belong to `wnrl.train.storage`.
"""
