"""``@stage("asr")``: a function as a stage."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, TypeVar, cast

from otel_stageio.errors import attempt
from otel_stageio.job.naming import check_name, split_name
from otel_stageio.record.stage import StageIO

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator

_NAME = "io"

_Result = TypeVar("_Result")


def stage(
    stage_name: str, *arguments: Any, **options: Any
) -> Callable[[Callable[..., _Result]], Callable[..., _Result]]:
    """Run a function as a stage: it is opened before each call, passed in, and ended with the call.

    `arguments` and `options` are those of `StageIO`. The function gets the stage as its argument ``io``, or, where it
    has none of that name, as its first one. What it returns is success, an exception is failed and goes on, as with
    ``with StageIO(...)``. Works on functions, methods (which take ``io`` by name), async functions and generators,
    whose stage is open while they run. Raises StageNameError for a name that cannot be honoured.
    """
    check_name(split_name(stage_name)[1])

    def decorate(function: Callable[..., _Result]) -> Callable[..., _Result]:
        parameters = attempt(lambda: dict(inspect.signature(function).parameters), lambda _: {})
        place = _place(parameters)

        def call(io: StageIO, positional: tuple[Any, ...], named: dict[str, Any]) -> Any:
            if place is not None and len(positional) >= place:
                return function(*positional[:place], io, *positional[place:], **named)
            return function(*positional, **{**named, _NAME: io})

        def opened() -> StageIO:
            return StageIO(stage_name, *arguments, **options)

        run = functools.wraps(function)(_runner(function, opened, call))
        if parameters:
            # Command lines and the like that look at the signature are not to ask for the stage.
            taken = _NAME if place is None else list(parameters)[place]
            rest = [one for one in parameters.values() if one.name != taken or one.kind is one.VAR_POSITIONAL]
            run.__signature__ = inspect.Signature(rest)  # type: ignore[attr-defined] # inspect's hook
        return cast("Callable[..., _Result]", run)

    return decorate


def _place(parameters: dict[str, inspect.Parameter]) -> int | None:
    """Before how many positional arguments the stage stands: none where no name says so; None: by keyword only."""
    if _NAME not in parameters:
        return 0
    if parameters[_NAME].kind is inspect.Parameter.KEYWORD_ONLY:
        return None
    return list(parameters).index(_NAME)


def _runner(
    function: Callable[..., Any],
    opened: Callable[[], StageIO],
    call: Callable[[StageIO, tuple[Any, ...], dict[str, Any]], Any],
) -> Callable[..., Any]:
    """A function of the same kind as `function`, in which the stage is open for as long as it runs."""

    async def run_async(*positional: Any, **named: Any) -> Any:
        with opened() as io:
            return await call(io, positional, named)

    async def iterate_async(*positional: Any, **named: Any) -> AsyncIterator[Any]:
        with opened() as io:
            async for one in call(io, positional, named):
                yield one

    def iterate(*positional: Any, **named: Any) -> Generator[Any, Any, Any]:
        with opened() as io:
            return (yield from call(io, positional, named))

    def run(*positional: Any, **named: Any) -> Any:
        with opened() as io:
            return call(io, positional, named)

    if inspect.iscoroutinefunction(function):
        return run_async
    if inspect.isasyncgenfunction(function):
        return iterate_async
    return iterate if inspect.isgeneratorfunction(function) else run
