"""Fast weight normalization and optimizer steps: Triton, ATen, and the reference that tests both.

Functions on tensors belong here. Layers (`wnrl.nn`) and optimizers (`wnrl.optim`) do not.
"""
