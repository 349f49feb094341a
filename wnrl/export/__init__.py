"""`python -m wnrl.export RUN_DIR --out FOLDER`: the policy of a run for other programs.

Each format is a module with one function from a `TrainedRun` to bytes. Reading a run and its scores
belongs to `wnrl.train` and `wnrl.report`.
"""
