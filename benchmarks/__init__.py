"""What otel-stageio costs, each budget measured beside what it is compared with; ``python -m benchmarks`` runs them.

A row is a module of its own, which says in its docstring what is compared with what. Each runs in a fresh process and
takes ours and the other in turn, so that both see the same machine: the median of the rounds counts, and their spread
is shown. Nothing here is a test: tests/test_benchmarks.py only keeps it working.

log_record     one log record to all its places, against plain logging
empty_stage    a stage that does nothing, in a fresh process, against a script written by hand
small_files    tracking files of 1 KiB, against hashlib alone
big_files      checksums of large files, against hashlib in as many threads as cores
exit_delay     the end of a process, by how the backend behaves that it delivers to
delivery       sending a journal, against the official exporter fed from memory
growth         many records, files and stages, against a hundredth of them
"""

ROWS = ("log_record", "empty_stage", "small_files", "big_files", "exit_delay", "delivery", "growth")
