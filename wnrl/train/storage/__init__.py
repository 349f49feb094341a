"""What a run writes for machines: its folder, checkpoints and status, each replaced atomically.

Files that are read back belong here. TensorBoard and the screen do not (`wnrl.train.log`).
"""
