"""The process of a command: its start, its signals, its output, and what ends it early.

Code that deals with the operating system's side of a command belongs here. Nothing here imports
torch, because all of it is needed before torch is loaded.
"""
