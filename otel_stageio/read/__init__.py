"""A job for people and programs that look at it."""
