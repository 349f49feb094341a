"""MinAtar (Young & Tian 2019): the names of its games, and N copies of one behind `VectorEnv`.

The rules of the games are those of the package MinAtar, which is not part of this one.
"""
