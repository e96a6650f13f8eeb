"""Logging of a stage: its logger, the bridge behind it, the console, and what other loggers say."""
