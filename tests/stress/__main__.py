"""Many processes on one job folder, with mixed work that ends at random: nothing is torn, lost, doubled or wrong.

`make stress` runs it with fifty processes for five minutes; `python -m tests.stress 10 20` with ten for twenty seconds,
and a folder as the third word keeps what came of it there.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.stress.judge import judge
from tests.stress.work import run, tasks


def main() -> None:
    """Run it as the command line says: processes, seconds, folder."""
    processes, seconds, folder = (*(sys.argv[1:] or ("50", "300")), "")[:3]
    with tempfile.TemporaryDirectory(prefix="stress-") as temporary:
        root = Path(folder or temporary)
        run(root, tasks(float(seconds), seed=int(time.time())), int(processes))
        found = judge(root)
    counts = (
        f"{found.processes} processes, {found.attempts} attempts, {found.records} records, {len(found.wrong)} wrong"
    )
    sys.stdout.write("\n".join([counts, *found.wrong[:20], ""]))
    sys.exit(bool(found.wrong))


if __name__ == "__main__":
    main()
