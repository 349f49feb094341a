"""The files of a run that are read back: its folder, tables, checkpoints and status.

They belong here. TensorBoard and the screen do not (`wnrl.train.log`).
"""
