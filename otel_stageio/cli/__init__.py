"""The `stageio` command, with a module for each verb."""
