"""How a system learns that its run is over: SIGTERM sets a flag. Standard library only."""

import signal
from types import FrameType


class Ending:
    """True in a condition once the driver has said that it is enough."""

    def __init__(self) -> None:
        self.asked = False
        signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.asked = True
