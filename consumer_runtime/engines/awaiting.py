"""Calls of `async def` handlers where a thread waits for them: one at a time, in modes single, thread and process.

Not here: many at once on one loop (`async_`), and whose loop it is.
"""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any


def waited_for(
    call: Callable[[Any], Awaitable[Any]], run: Callable[[Coroutine[Any, Any, None]], Any]
) -> Callable[[Any], None]:
    """Return a plain call: `run` makes a loop run a coroutine to its end.

    An exception does not pass through the loop: it would stay in the finished task, whose waiter is in the traceback,
    and the two would keep each other, with the message, until the next collection of cycles.
    """

    async def caught(argument: Any, errors: list[BaseException]) -> None:
        try:
            await call(argument)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's code may raise anything
            errors.append(error)

    def invoke(argument: Any) -> None:
        errors: list[BaseException] = []
        run(caught(argument, errors))
        if errors:
            raise errors.pop()

    return invoke
