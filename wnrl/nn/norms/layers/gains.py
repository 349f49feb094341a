"""Gains that nonlinearities require of the layer before them."""

import math

RELU_GAMMA = math.sqrt(2 / (1 - 1 / math.pi))  # 2101.08692, section 4.2: 1 / the deviation of ReLU
