"""Where a thread is right now, for logs about handlers that do not return."""

import sys
import threading
import traceback

_FRAMES = 12


def stack_of(thread: threading.Thread) -> str:
    """Return the innermost frames of a running thread as text; nothing for one that has ended."""
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - the documented way to see a stack
    return "".join(traceback.format_stack(frame)[-_FRAMES:]) if frame is not None else ""
