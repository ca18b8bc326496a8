"""Values by the schema that each message names: what `value_format: schema_registry` puts around a handler.

Confluent's wire format: a zero byte, the schema's id in four, then the value. The registry says whether that is Avro,
JSON or Protobuf. What cannot be decoded is rejected, so it becomes a dead letter with its own bytes; while the registry
does not answer, attempts fail (SchemaRegistryError) and are made again. Not here: keys, which stay bytes.
"""

import asyncio
import copy
import functools
import importlib.util
import json
import struct
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from consumer_runtime.contract.choices import StartReason
from consumer_runtime.errors import Reject, StartFailure
from consumer_runtime.handler import Handler
from consumer_runtime.schema_kinds import NEEDS, Decode, UndecodableError, decoder
from consumer_runtime.schema_registry import NoSuchSchemaError, SchemaRegistry

_HEAD = struct.Struct(">BI")
_SCHEMAS_AT_MOST = 1_000


def decoding(handler: Handler, client: str) -> Handler:
    """Return the handler with decoded values; `client` is SchemaRegistry's arguments as JSON.

    Raises StartFailure when the libraries are not installed, or a certificate cannot be read.
    """
    _require_libraries()
    another = functools.partial(_another, handler.another, client) if handler.another else None
    values = _values(client)
    call = _decoding_async(handler.call, values) if handler.is_async else _decoding(handler.call, values)
    return replace(handler, call=call, another=another)


class Values:
    """Decodes values; knows the schemas that it has seen. Safe from any thread."""

    def __init__(self, registry: SchemaRegistry) -> None:
        self._registry = registry
        self._decoders: dict[int, Decode] = {}
        self._lock = threading.Lock()

    def decoded(self, message: Any) -> Any:
        """Return a copy of a message, or of each in a list, with its decoded value. Raises Reject."""
        if isinstance(message, list):
            return [self.decoded(each) for each in message]
        if message.value is None:
            return message
        made = copy.copy(message)
        try:
            made.value = self._decoder(schema_id(message.value))(message.value[_HEAD.size :])
        except (UndecodableError, NoSuchSchemaError) as error:
            raise Reject(f"the value does not decode: {error}") from error
        return made

    def has_to_ask(self, message: Any) -> bool:
        """Return whether the registry has to be asked first, which blocks."""
        if isinstance(message, list):
            return any(self.has_to_ask(each) for each in message)
        value = message.value
        return value is not None and len(value) >= _HEAD.size and _HEAD.unpack_from(value)[1] not in self._decoders

    def _decoder(self, number: int) -> Decode:
        found = self._decoders.get(number)
        if found is not None:
            return found
        with self._lock:
            if number in self._decoders:
                return self._decoders[number]
            made = decoder(self._registry.by_id(number), self._registry)
            if len(self._decoders) >= _SCHEMAS_AT_MOST:
                self._decoders.pop(next(iter(self._decoders)))
            self._decoders[number] = made
        return made


def schema_id(value: bytes) -> int:
    """Return the id at the head of a value. Raises UndecodableError when there is none."""
    if len(value) < _HEAD.size:
        raise UndecodableError(f"{len(value)} bytes are too short for a schema's id")
    magic, number = _HEAD.unpack_from(value)
    if magic != 0:
        raise UndecodableError(f"it begins with byte {magic} instead of 0: it was not written with a schema's id")
    return int(number)


def _another(another: Callable[[], Handler], client: str) -> Handler:
    return decoding(another(), client)


def _decoding(call: Callable[[Any], Any], values: Values) -> Callable[[Any], Any]:
    @functools.wraps(call)
    def called(message: Any) -> Any:
        return call(values.decoded(message))

    return called


def _decoding_async(call: Callable[[Any], Awaitable[Any]], values: Values) -> Callable[[Any], Awaitable[Any]]:
    @functools.wraps(call)
    async def called(message: Any) -> Any:
        if values.has_to_ask(message):
            return await call(await asyncio.to_thread(values.decoded, message))
        return await call(values.decoded(message))

    return called


@functools.cache
def _values(client: str) -> Values:
    """One for each process and registry: threads share what was asked for."""
    arguments = json.loads(client)
    try:
        return Values(SchemaRegistry(**arguments))
    except OSError as error:
        raise StartFailure.because(
            StartReason.INVALID_SETTINGS,
            field="spec.source.kafka.schemaRegistry",
            value=arguments["url"],
            remedy=f"a certificate of its TLS cannot be read: {error}",
        ) from error


def _require_libraries() -> None:
    try:
        missing = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    except ModuleNotFoundError as error:  # the parent package of a dotted name
        missing = [str(error.name)]
    if missing:
        raise StartFailure.because(
            StartReason.INVALID_SETTINGS,
            field="spec.handler.valueFormat",
            value="schema_registry",
            remedy=f"{missing[0]} is not installed: build the handler's image with "
            "`pip install 'parallel-consumer-operator[schemas]'`",
        )
