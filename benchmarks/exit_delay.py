"""What a configured endpoint adds to a process with one stage, by how the backend behaves.

Compared is the time until the process has ended with that of the same process without an endpoint, in turn; the row is
the difference, in seconds. Backends, on loopback: nobody listens; connections hang, as where a firewall drops them (a
listener whose queue is full); connections are taken and never answered; the name server does not answer (the look-up
of a name sleeps); the proxy is down; and, with the larger budget, one that answers at once or after half a second. The
stage does nothing (scripts/with_stageio.py), so that all of delivery falls to the end; or lasts two seconds
(scripts/lasting.py), so that a request may be under way.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from benchmarks.measuring import Result, Steps, alternate, compared, timed
from benchmarks.runner import REPO, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from benchmarks.measuring import Size, Tell

_SCRIPTS: Final = Path(__file__).parent / "scripts"
_SILENT: Final = 0.3
_ANSWERING: Final = 2.0
_AGAINST: Final = "without an endpoint"
_GRPC: Final = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
#: Loaded by the measured process before its script: looking up a name takes longer than anybody waits.
_SLOW_NAMES: Final = """import socket, time
socket.getaddrinfo = lambda *_, **__: time.sleep(30)
"""


@dataclass(frozen=True, slots=True)
class Amount:
    """How often each process runs, with how many of the backends, and whether those that last are among them."""

    rounds: int
    cases: int = 99
    lasting: bool = True


AMOUNTS: Final = {"tiny": Amount(1, cases=2, lasting=False), "small": Amount(5), "full": Amount(11)}


class _Case(NamedTuple):
    """A backend and its budget."""

    what: str
    variables: Mapping[str, str]
    limit: float = _SILENT
    lasts: bool = False


def run(size: Size, folder: str, tell: Tell) -> list[Result]:
    """Measure the row, with job folders below `folder`."""
    amount = AMOUNTS[size]
    here = Path(folder)
    names = here / "slow_names"
    names.mkdir()
    (names / "sitecustomize.py").write_text(_SLOW_NAMES, encoding="utf-8")
    with contextlib.ExitStack() as stack:
        cases = [each for each in _cases(stack, names) if amount.lasting or not each.lasts][: amount.cases]
        steps = Steps(tell, len(cases) * (amount.rounds + 1))
        return [_measured(case, here, amount.rounds, steps) for case in cases]


def _cases(stack: contextlib.ExitStack, names: Path) -> list[_Case]:
    nobody = f"http://127.0.0.1:{_free_port()}"
    hole, silent = stack.enter_context(_listener(backlog=0, full=True)), stack.enter_context(_listener(backlog=64))
    quick, slow = stack.enter_context(backend(0.0)), stack.enter_context(backend(0.5))
    slow_names = {"PYTHONPATH": f"{names}:{REPO}"}
    dead: dict[str, dict[str, str]] = {
        "nobody listens": _to(nobody),
        "connections hang": _to(hole),
        "no answer": _to(silent),
        "the name server hangs": {**_to("http://collector.invalid:4318"), **slow_names},
        "the proxy is down": {**_to("http://collector.invalid:4318"), "http_proxy": nobody},
    }
    cases = [_Case(f"HTTP, {what}", variables) for what, variables in dead.items()]
    cases += [_Case(f"gRPC, {what}", {**variables, **_GRPC}) for what, variables in dead.items()]
    cases += [_Case(f"HTTP, {what}, 2 s stage", dead[what], lasts=True) for what in ("nobody listens", "no answer")]
    cases.append(_Case("gRPC, no answer, 2 s stage", {**dead["no answer"], **_GRPC}, lasts=True))
    cases.append(_Case("HTTP, answers at once", _to(quick), limit=_ANSWERING))
    cases.append(_Case("HTTP, answers after 0.5 s", _to(slow), limit=_ANSWERING))
    return cases


def _to(endpoint: str) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "STAGEIO_MODE": "auto", "no_proxy": "", "NO_PROXY": ""}


def _measured(case: _Case, here: Path, rounds: int, steps: Steps) -> Result:
    script = _SCRIPTS / ("lasting.py" if case.lasts else "with_stageio.py")
    kept = {name: of for name, of in case.variables.items() if name == "PYTHONPATH"}
    mine, theirs = alternate(
        _process(script, here, case.variables),
        _process(script, here, kept),
        rounds=rounds,
        steps=steps,
        what=case.what,
    )
    return Result(
        what=f"End of the process: {case.what}",
        against=_AGAINST,
        values=tuple(a - b for a, b in zip(mine, theirs, strict=True)),
        unit="s",
        limit=case.limit,
        detail=compared(mine, theirs),
    )


def _process(script: Path, folder: Path, variables: Mapping[str, str]) -> Callable[[], float]:
    """Measure a new process that runs `script` with a new job folder as its argument."""
    numbers = count()
    surroundings = environment(**variables)

    def measure() -> float:
        job = folder / f"job-{next(numbers)}"
        command = [sys.executable, str(script), str(job)]
        run_it = partial(subprocess.run, command, env=surroundings, cwd=folder, stderr=subprocess.DEVNULL, check=True)
        seconds = timed(run_it)
        shutil.rmtree(job, ignore_errors=True)
        return seconds

    return measure


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextlib.contextmanager
def _listener(*, backlog: int, full: bool = False) -> Iterator[str]:
    """A port that takes connections and says nothing; `full`, it does not even take them."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=backlog))
        port = server.getsockname()[1]
        while full:
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0.2)
            try:
                waiting.connect(("127.0.0.1", port))
            except TimeoutError:
                break
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def backend(seconds: float) -> Iterator[str]:
    """An OTLP backend that takes everything, each time after so many seconds."""

    class Answer(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(405)
            self.end_headers()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            time.sleep(seconds)
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
