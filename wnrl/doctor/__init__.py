"""Facts about this machine: CPUs, memory, devices, software (`python -m wnrl.doctor` lists them).

Code that asks the operating system or the hardware belongs here. Decisions that a run makes from
the answers do not.
"""
