"""Runs the DAG of a file once, in this process: ``airflow_dag.py FILE TEXT JOBS``. Started by Airflow's own Python."""

from __future__ import annotations

import runpy
import sys

path, text, jobs = sys.argv[1:]
run = runpy.run_path(path)["dag"].test(run_conf={"text": text, "jobs": jobs})
print(f"ended: {run.state}")  # noqa: T201 - the test reads it
