"""Processes of a stage: whether this one owns the attempt or takes part in it, its forks, and how it ends."""
