"""A real Prometheus behind VictoriaMetrics' documented manners. Not a test, and not VictoriaMetrics.

Its module is not to be had where this is tested; how it rates and extrapolates is not in it.
"""

import re
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from made_http import answering, pass_on

LATE = 10.0
"""Seconds by which it answers late when it is not told otherwise; there 30, by `-search.latencyOffset`."""
PARAMETERS = {"query", "time", "start", "end", "step", "timeout", "nocache"}
FOREIGN = re.compile(r"@|\[\w+:\w*\]")
"""Modifiers and subqueries: not every server that speaks PromQL has them."""
TEXTS = re.compile(r'"(\\.|[^"\\])*"')


@contextmanager
def in_front_of(server: str) -> Iterator[tuple[str, list[str]]]:
    """Give its address, and the queries that it was asked.

    It takes nothing but `query` and `query_range`, and of them no parameter, modifier or subquery that it does not
    know; an instant query without `nocache=1` is answered from LATE seconds ago.
    """
    asked: list[str] = []

    def reply(handler: BaseHTTPRequestHandler) -> None:
        path, _, text = handler.path.partition("?")
        given = dict(urllib.parse.parse_qsl(text))
        asked.append(given.get("query", ""))
        refused = _refused(path, given)
        if refused:
            handler.send_error(422, refused)
            return
        late = 0.0 if given.pop("nocache", "") == "1" else LATE
        query = urllib.parse.urlencode({"time": f"{time.time() - late:.3f}", **given})
        pass_on(handler, f"{server}{path}?{query}")

    with answering(reply) as (address, _):
        yield address, asked


def _refused(path: str, given: dict[str, str]) -> str:
    if path not in {"/api/v1/query", "/api/v1/query_range"}:
        return f"no such path: {path}"
    foreign = FOREIGN.search(TEXTS.sub("", given.get("query", "")))
    unknown = set(given) - PARAMETERS
    return f"not known here: {unknown or foreign}" if unknown or foreign else ""
