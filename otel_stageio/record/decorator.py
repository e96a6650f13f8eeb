"""``@stage("asr")``: a function as a stage."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from otel_stageio.record.stage import StageIO

if TYPE_CHECKING:
    from collections.abc import Callable

_NAME = "io"


def stage(stage_name: str, *arguments: Any, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Run a function as a stage: it is opened before each call, passed in, and ended with the call.

    `arguments` and `options` are those of `StageIO`. The function gets the stage as its argument ``io``, or, where it
    has none of that name, as its first one. What it returns is success, an exception is failed and goes on, as with
    ``with StageIO(...)``. Works on functions, methods (which take ``io`` by name) and async functions.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        by_name = _NAME in inspect.signature(function).parameters

        def call(io: StageIO, positional: tuple[Any, ...], named: dict[str, Any]) -> Any:
            return function(*positional, **{**named, _NAME: io}) if by_name else function(io, *positional, **named)

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def run_async(*positional: Any, **named: Any) -> Any:
                with StageIO(stage_name, *arguments, **options) as io:
                    return await call(io, positional, named)

            return run_async

        @functools.wraps(function)
        def run(*positional: Any, **named: Any) -> Any:
            with StageIO(stage_name, *arguments, **options) as io:
                return call(io, positional, named)

        return run

    return decorate
