"""`wnrl demo`: two short runs on CartPole, their learning curves and a video of what they learnt.

It is a comparison that is small enough to watch. It claims nothing about normalizations.
"""
