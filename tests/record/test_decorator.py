"""A function as a stage."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from otel_stageio import StageIO, StageNameError, StageRunningError, stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


def manifest(folder: str = "out/06_asr") -> dict[str, Any]:
    """The manifest of a stage."""
    return json.loads(Path(folder, "manifest.json").read_bytes())


def test_function_that_names_io(told):
    """A function with an argument `io` gets the stage by that name; what it returns is passed on, and is success."""
    seen = []

    @stage("asr", "out", stage_number=6)
    def recognise(words: int, io: StageIO, *, scale: int = 1) -> int:
        """Recognise."""
        seen.append(io)
        io.track_input("a.wav")
        assert io.manifest["status"] == "running"
        return words * scale

    assert recognise(3, scale=2) == 6
    assert (recognise.__name__, recognise.__doc__) == ("recognise", "Recognise.")
    assert told(seen[0]).manifest["status"] == "success"
    assert recognise(words=1) == 1
    assert manifest()["attempt"] == 2


def test_function_that_takes_the_stage_first():
    """A function without an argument of that name gets the stage as its first one, also among *arguments."""

    @stage("06_asr")
    def recognise(the_stage: StageIO, words: int) -> tuple[str, int]:
        return the_stage.stage_name, words

    @stage("07_score")
    def score(*arguments: object) -> int:
        return len(arguments)

    assert recognise(3) == ("asr", 3)
    assert score(1, 2) == 3


def test_method(told):
    """A method takes the stage by name."""

    class Pipeline:
        factor = 2

        @stage("06_asr")
        def recognise(self, words: int, io: StageIO) -> int:
            return words * self.factor * io.stage_number

    assert Pipeline().recognise(1) == 12
    assert manifest()["status"] == "success"


def test_wherever_io_stands():
    """The stage gets to its place among the arguments, however the caller passes the others."""

    class Pipeline:
        @stage("06_asr")
        def first(self, io: StageIO, words: int) -> tuple[str, int]:
            return type(io).__name__, words

    @stage("06_asr")
    def between(a: int, io: StageIO, b: int = 0) -> tuple[int, str, int]:
        return a, type(io).__name__, b

    @stage("06_asr")
    def by_keyword(a: int, *rest: int, io: StageIO) -> tuple[int, int, str]:
        return a, len(rest), type(io).__name__

    @stage("06_asr")
    def positional_only(io: StageIO, /, a: int) -> tuple[str, int]:
        return type(io).__name__, a

    assert Pipeline().first(3) == Pipeline().first(words=3) == positional_only(3) == ("StageIO", 3)
    assert between(1, 2) == between(1, b=2) == between(a=1, b=2) == (1, "StageIO", 2)
    assert by_keyword(1, 2, 3) == (1, 2, "StageIO")


def test_options_are_those_of_stageio():
    """Further arguments of the decorator go to StageIO."""

    @stage("asr", Path("job"), enable_manifest=False, stage_number=6, checksum="off")
    def recognise(io: StageIO) -> Path:
        return io.stage_dir

    assert recognise() == Path("job/06_asr")
    assert not Path("job/06_asr/manifest.json").exists()


def test_an_exception_fails_the_stage_and_goes_on():
    """An exception out of the function is the stage's failure, with its type, and reaches the caller."""

    @stage("06_asr")
    def recognise(io: StageIO) -> None:
        raise KeyError("k")

    with pytest.raises(KeyError):
        recognise()
    document = manifest()
    assert (document["status"], document["reason"]) == ("failed", "KeyError: 'k'")
    (error,) = document["errors"]
    assert "in recognise" in error["stacktrace"]


@pytest.mark.parametrize(
    ("code", "status", "extra"),
    [(0, "success", {}), (None, "success", {}), (3, "failed", {"exit_code": 3}), ("no", "failed", {"exit_code": 1})],
)
def test_exit_codes(code, status, extra):
    """sys.exit within the function goes on; 0 is success, anything else failed with the code."""

    @stage("06_asr")
    def recognise(io: StageIO) -> None:
        raise SystemExit(code)

    with pytest.raises(SystemExit) as exit_:
        recognise()
    assert exit_.value.code == code
    assert (manifest()["status"], manifest()["extra"]) == (status, extra)


def test_exit_code_of_the_process(run_script):
    """The process of a decorated script ends with the code that it gave."""
    done = run_script(
        """
        import sys
        from otel_stageio import stage

        @stage("06_asr")
        def main(io):
            sys.exit(3)

        main()
        """
    )
    assert (done.returncode, manifest()["status"], done.stderr) == (3, "failed", "")


def test_finalize_within_decides():
    """A function may finalize its stage itself; what it said stands."""

    @stage("06_asr")
    def recognise(io: StageIO) -> str:
        io.finalize("skipped", reason="nothing to do")
        return "done"

    assert recognise() == "done"
    assert (manifest()["status"], manifest()["reason"]) == ("skipped", "nothing to do")
    assert manifest()["warnings"] == []


def test_async_function():
    """The stage of an async function is open until what it awaits is done; two of different stages run side by side."""
    order = []

    def made(number: int) -> Any:
        @stage(f"{number:02d}_part")
        async def part(io: StageIO) -> str:
            order.append(f"begin {number}")
            await asyncio.sleep(0.01)
            order.append(f"end {io.manifest['status']}")
            if number == 2:
                raise ValueError("bad")
            return "awaited"

        return part

    async def both() -> list[Any]:
        return await asyncio.gather(made(1)(), made(2)(), return_exceptions=True)

    first = made(1)
    assert inspect.iscoroutinefunction(first)
    results = asyncio.run(both())
    assert order == ["begin 1", "begin 2", "end running", "end running"]
    assert (results[0], str(results[1])) == ("awaited", "bad")
    assert (manifest("out/01_part")["status"], manifest("out/02_part")["status"]) == ("success", "failed")


def test_cancelled_async_function():
    """A task that is cancelled is a failure with the reason."""

    @stage("06_asr")
    async def recognise(io: StageIO) -> None:
        await asyncio.sleep(60)

    async def cancel() -> None:
        task = asyncio.ensure_future(recognise())
        await asyncio.sleep(0.01)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel())
    assert (manifest()["status"], manifest()["errors"][0]["exception_type"]) == (
        "failed",
        "asyncio.exceptions.CancelledError",
    )


def test_generators():
    """The stage of a generator is open while it runs, of an asynchronous one too."""

    @stage("06_asr")
    def words(io: StageIO, count: int) -> Iterator[str]:
        yield from map(str, range(count))
        return io.manifest["status"]

    @stage("07_score")
    async def scores(io: StageIO) -> AsyncIterator[str]:
        yield io.manifest["status"]

    async def told() -> list[str]:
        return [status async for status in scores()]

    running = words(2)
    assert next(running) == "0"
    assert manifest()["status"] == "running"
    assert list(running) == ["1"]
    assert manifest()["status"] == "success"
    assert asyncio.run(told()) == ["running"]
    assert manifest("out/07_score")["status"] == "success"


def test_signature_does_not_ask_for_the_stage():
    """What looks at the signature, as command lines do, sees the caller's arguments alone."""

    @stage("06_asr")
    def by_name(path: str, io: StageIO, *, beams: int = 5) -> None: ...

    @stage("06_asr")
    def first(the_stage: StageIO, path: str) -> None: ...

    @stage("06_asr")
    def many(*paths: str) -> None: ...

    assert list(inspect.signature(by_name).parameters) == ["path", "beams"]
    assert list(inspect.signature(first).parameters) == ["path"]
    assert list(inspect.signature(many).parameters) == ["paths"]


def test_callables_without_a_signature():
    """What has no signature gets the stage first."""
    seen: list[object] = []
    stage("06_asr")(seen.append)()
    stage("06_asr")(functools.partial(seen.append))()
    assert [type(each) for each in seen] == [StageIO, StageIO]

    class NoSignature:
        __signature__ = "none"

        def __call__(self, io: object) -> str:
            return type(io).__name__

    assert stage("06_asr")(NoSignature())() == "StageIO"


@pytest.mark.parametrize("name", ["", "a/b", test_method, None])
def test_bad_names_are_errors_where_the_function_is_defined(name):
    """A name that cannot be honoured is an error at the decoration, and so is a decorator without its parentheses."""
    with pytest.raises(StageNameError):
        stage(name)


def test_a_call_within_the_call_is_an_error():
    """A stage that calls itself is running: that is an error, which fails the outer one."""

    @stage("06_asr")
    def recognise(io: StageIO) -> None:
        recognise()

    with pytest.raises(StageRunningError):
        recognise()
    assert manifest()["status"] == "failed"
