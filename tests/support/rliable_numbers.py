"""Scores of two algorithms, and their statistics as rliable 1.2.0 computed them.

They were made once, with arch 7.2.0, scipy 1.17.1, pandas 2.3.3 and NumPy 2.4.6:

    rng = np.random.default_rng(7)
    x, y = rng.gamma(2, 0.5, (5, 6)).round(1), rng.gamma(2, 0.4, (4, 6)).round(1)
    np.random.seed(1)  # rliable draws from the global generator and ignores random_state
    aggregates = lambda s: np.array([
        metrics.aggregate_iqm(s), metrics.aggregate_mean(s), metrics.aggregate_median(s),
        metrics.aggregate_optimality_gap(s)])
    improvement = lambda a, b: np.array([metrics.probability_of_improvement(a, b)])
    library.get_interval_estimates({"x": x}, aggregates, reps=50_000)
    library.get_interval_estimates({"xy": [x, y]}, improvement, reps=20_000)
    library.create_performance_profile({"x": x}, np.array([0.25, 0.5, 1, 2]), reps=50_000)
"""

import numpy as np

X = [  # (runs, games)
    [0.8, 0.7, 0.6, 0.9, 0.6, 1.2],
    [0.9, 0.8, 0.2, 0.1, 0.3, 0.9],
    [0.8, 0.2, 0.9, 0.4, 0.4, 1.5],
    [0.8, 0.9, 0.9, 0.2, 0.9, 2.9],
    [0.3, 1.3, 1.4, 1.3, 0.5, 0.6],
]
Y = [
    [0.2, 0.6, 1.5, 0.3, 0.1, 0.6],
    [1.1, 0.5, 1.8, 0.5, 0.6, 0.2],
    [0.5, 1.1, 1.1, 1.4, 1.0, 0.9],
    [0.1, 0.3, 2.6, 0.4, 1.0, 0.6],
]
GAMES_X, GAMES_Y = np.transpose(X), np.transpose(Y)  # (games, runs)

# value, and the ends of the 95% interval
INTERQUARTILE_MEAN = (0.75, 0.60625, 0.8875)
MEAN = (0.8066666666666666, 0.65333333, 0.97333333)
MEDIAN = (0.75, 0.58, 0.89)
OPTIMALITY_GAP = (0.31333333333333324, 0.22333333, 0.41)
IMPROVEMENT = (0.49583333, 0.35416667, 0.6375)

THRESHOLDS = (0.25, 0.5, 1, 2)
PROFILE = (0.86666667, 0.7, 0.2, 0.03333333)
PROFILE_LOW = (0.76666667, 0.56666667, 0.06666667, 0.0)
PROFILE_HIGH = (0.96666667, 0.83333333, 0.33333333, 0.1)
