"""What the settings put around a handler, as text that travels to worker processes with its reference.

Only composition: `results`, `schemas` and `routes` do the work. Imported by workers that need it, so it knows no
settings models.
"""

import json
from dataclasses import dataclass, field, replace

from consumer_runtime.handler import Handler


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Each part is optional; all of them are plain values."""

    results_topic: str = ""
    client: dict[str, object] = field(default_factory=dict)
    """Properties of the client that produces results."""
    schema_registry: dict[str, object] = field(default_factory=dict)
    """Arguments of the registry by whose schemas values are decoded; empty: they are not."""

    def text(self) -> str:
        """Return the options as text; empty when there are none."""
        if not (self.results_topic or self.schema_registry):
            return ""
        parts = {
            "results_topic": self.results_topic,
            "client": self.client if self.results_topic else {},
            "schema_registry": self.schema_registry,
        }
        return json.dumps(parts, sort_keys=True)


def with_options(handler: Handler, text: str) -> Handler:
    """Return the handler with the options around it, and a reference that carries them."""
    if not text or (handler.reference is not None and handler.reference.options == text):
        return handler
    options = Options(**json.loads(text))
    wrapped = handler
    if options.schema_registry:
        from consumer_runtime import schemas

        wrapped = schemas.decoding(wrapped, json.dumps(options.schema_registry, sort_keys=True))
    if options.results_topic:
        from consumer_runtime import results

        client = json.dumps(options.client, sort_keys=True)
        wrapped = results.producing(wrapped, results.Destination(options.results_topic, client))
    reference = replace(handler.reference, options=text) if handler.reference is not None else None
    return replace(wrapped, reference=reference)
