"""What a handler logs in a worker process looks like what the program logs."""

import json
import subprocess
import sys
from pathlib import Path

_PROGRAM = """
import logging, sys
from consumer_runtime import logs
from consumer_runtime.contract.settings import ExecutionSettings, LogLevel
from consumer_runtime.engines.process import ProcessEngine
from consumer_runtime.handler import Reference, refer
from consumer_runtime.message import Message

def main():
    logs.configure(LogLevel.INFO)
    handler = refer(Reference(entrypoint="logging_handler:handle", log_context=True))
    execution = ExecutionSettings(worker_pool_size=1)
    engine = ProcessEngine(handler, execution)
    engine.start()

    def run(offset):
        engine.submit([Message("orders", 3, offset, b"k", b"v")])
        while engine.collect() is None:
            engine.wait(0.1)

    run(1)
    logs.set_level(LogLevel.DEBUG)
    engine.apply(execution)
    run(2)
    run(3)
    engine.stop(2)

if __name__ == "__main__":
    main()
"""

_HANDLER = """
import logging

def handle(message):
    logging.getLogger("shop").info("seen %d", message.offset)
    logging.getLogger("shop").debug("details of %d", message.offset)
"""


def test_lines_have_the_programs_shape_and_follow_its_level(tmp_path: Path) -> None:
    """JSON with level and the message's place; a level that changes while running is taken by workers too."""
    (tmp_path / "logging_handler.py").write_text(_HANDLER)
    (tmp_path / "program.py").write_text(_PROGRAM)
    told = subprocess.run(
        [sys.executable, tmp_path / "program.py"], capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path
    )
    lines = [json.loads(line) for line in told.stderr.splitlines() if '"shop"' in line]
    assert [(line["event"], line["level"]) for line in lines] == [
        ("seen 1", "info"),
        ("seen 2", "info"),
        ("details of 2", "debug"),
        ("seen 3", "info"),
        ("details of 3", "debug"),
    ]
    assert {(line["topic"], line["partition"]) for line in lines} == {("orders", 3)}
