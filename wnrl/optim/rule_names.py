"""The names of the update rules, for settings and help that need no torch."""

OPTIMIZER_NAMES = ("adam", "adamax", "radam", "rmsprop")
