"""What a run writes for machines: its folder, tables, checkpoints and status.

Files that are read back belong here. TensorBoard and the screen do not (`wnrl.train.log`).
"""
