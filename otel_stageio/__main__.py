"""``python -m otel_stageio``: the `stageio` command where it is not on the PATH."""

from otel_stageio.cli.app import main

if __name__ == "__main__":
    main()
