"""Measurements of what a normalization does to a network while it learns.

Formulas and their readings belong here. They never change the network, and logging is elsewhere.
"""

from wnrl.instruments.instruments import Instruments

__all__ = ["Instruments"]
