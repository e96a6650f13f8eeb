"""Commands that a stage runs, and what they write."""
