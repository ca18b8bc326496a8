"""What a schema makes of bytes: Avro by fastavro, JSON Schema by jsonschema, Protobuf by protobuf.

The three come with the extra `schemas`, so that the plain image stays light. Not here: the wire format around the bytes
(`schemas`), where schemas come from (`schema_registry`).
"""

import base64
import binascii
import importlib
import io
import json
from collections.abc import Callable
from typing import Any

from consumer_runtime.errors import ConsumerError
from consumer_runtime.schema_registry import Schema, SchemaRegistry

NEEDS = ("fastavro", "jsonschema", "google.protobuf")
Decode = Callable[[bytes], Any]
"""From the bytes behind the schema's id to a value."""
_WELL_KNOWN = "google/protobuf/"
_DEPTH_AT_MOST = 16
_VARINT_BITS_AT_MOST = 35


class UndecodableError(ConsumerError):
    """The bytes do not fit their schema, or the schema itself is unusable."""


def decoder(schema: Schema, registry: SchemaRegistry) -> Decode:
    """Return what decodes values of a schema. Both raise UndecodableError, and this also what the registry raises."""
    make = {"AVRO": _avro, "JSON": _json, "PROTOBUF": _protobuf}.get(schema.kind)
    if make is None:
        raise UndecodableError(f"schemas of the kind {schema.kind} are not supported; AVRO, JSON and PROTOBUF are")
    return make(schema, registry)


def _avro(schema: Schema, registry: SchemaRegistry) -> Decode:
    """Values are what fastavro makes of them: dicts for records, Decimal and datetime for logical types."""
    import fastavro

    named: dict[str, Any] = {}
    try:
        for each in _all_references(schema, registry):
            fastavro.parse_schema(json.loads(each.text), named_schemas=named)
        parsed = fastavro.parse_schema(json.loads(schema.text), named_schemas=named)
    except (ValueError, fastavro.schema.SchemaParseException) as error:
        raise UndecodableError(f"the Avro schema cannot be read: {error}") from error

    def decode(data: bytes) -> Any:
        try:
            return fastavro.schemaless_reader(io.BytesIO(data), parsed, None)
        except (ValueError, EOFError, IndexError, TypeError, OverflowError, StopIteration) as error:
            raise UndecodableError(
                f"the value does not fit its Avro schema: {error or type(error).__name__}"
            ) from error

    return decode


def _json(schema: Schema, registry: SchemaRegistry) -> Decode:
    """Values are what JSON makes of them, validated; by draft 7 where a schema names none, as in the registry."""
    import jsonschema
    import referencing.jsonschema

    resource = referencing.jsonschema.DRAFT7.create_resource
    try:
        resources = [(each.name, resource(json.loads(registry.referenced(each).text))) for each in schema.references]
        document = json.loads(schema.text)
        kind = jsonschema.validators.validator_for(document, default=jsonschema.Draft7Validator)
        kind.check_schema(document)
        validator = kind(document, registry=referencing.Registry().with_resources(resources))
    except (ValueError, jsonschema.SchemaError) as error:
        raise UndecodableError(f"the JSON schema cannot be read: {error}") from error

    def decode(data: bytes) -> Any:
        try:
            value = json.loads(data)
            validator.validate(value)
        except ValueError as error:
            raise UndecodableError(f"the value is no JSON: {error}") from error
        except (jsonschema.ValidationError, referencing.exceptions.Unresolvable) as error:
            raise UndecodableError(f"the value does not fit its JSON schema: {error!s:.300}") from error
        return value

    return decode


def _protobuf(schema: Schema, registry: SchemaRegistry) -> Decode:
    """Values are messages of a class made from the registry's descriptor: no generated code is needed."""
    from google.protobuf import descriptor_pool, message_factory
    from google.protobuf.message import DecodeError

    pool = descriptor_pool.DescriptorPool()
    try:
        top_level = _add_file(pool, "", schema, registry, depth=0)
    except (TypeError, KeyError, ValueError, DecodeError, ImportError, binascii.Error) as error:
        raise UndecodableError(f"the Protobuf schema cannot be read: {error}") from error

    def decode(data: bytes) -> Any:
        try:
            path, start = _message_path(data)
            descriptor = top_level[path[0]]
            for index in path[1:]:
                descriptor = descriptor.nested_types[index]
            return message_factory.GetMessageClass(descriptor).FromString(data[start:])
        except (DecodeError, IndexError) as error:
            raise UndecodableError(f"the value does not fit its Protobuf schema: {error}") from error

    return decode


def _all_references(schema: Schema, registry: SchemaRegistry, depth: int = 0) -> list[Schema]:
    """Return what a schema refers to, each after what it refers to itself."""
    if depth > _DEPTH_AT_MOST:
        raise UndecodableError(f"schemas refer to each other more than {_DEPTH_AT_MOST} deep")
    found: list[Schema] = []
    for reference in schema.references:
        each = registry.referenced(reference)
        found += [*_all_references(each, registry, depth + 1), each]
    return found


def _add_file(pool: Any, name: str, schema: Schema, registry: SchemaRegistry, *, depth: int) -> list[Any]:
    """Add a file and what it imports to the pool; return its messages in order, as the wire format counts them."""
    from google.protobuf import descriptor_pb2

    if depth > _DEPTH_AT_MOST:
        raise UndecodableError(f"schemas import each other more than {_DEPTH_AT_MOST} deep")
    file = descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(schema.text))
    file.name = name or file.name or "value.proto"
    references = {each.name: each for each in schema.references}
    for imported in file.dependency:
        if imported in references:
            _add_file(pool, imported, registry.referenced(references[imported]), registry, depth=depth + 1)
        else:
            _add_well_known(pool, imported)
    pool.Add(file)
    added = pool.FindFileByName(file.name)
    return [added.message_types_by_name[each.name] for each in file.message_type]


def _add_well_known(pool: Any, imported: str) -> None:
    from google.protobuf import descriptor_pb2

    if not imported.startswith(_WELL_KNOWN):
        raise UndecodableError(f"{imported!r} is imported, and the schema states no reference of that name")
    module = importlib.import_module(imported.removesuffix(".proto").replace("/", ".") + "_pb2")
    file = descriptor_pb2.FileDescriptorProto()
    module.DESCRIPTOR.CopyToProto(file)
    for each in file.dependency:
        _add_well_known(pool, each)
    pool.Add(file)


def _message_path(data: bytes) -> tuple[list[int], int]:
    """Return which message of the file it is, from outside in, and where it begins. A lone 0 is the first."""
    count, at = _varint(data, 0)
    if not 0 <= count <= _DEPTH_AT_MOST:
        raise UndecodableError("the value names no message of its Protobuf schema")
    path = []
    for _ in range(count):
        index, at = _varint(data, at)
        if index < 0:
            raise UndecodableError("the value names no message of its Protobuf schema")
        path.append(index)
    return path or [0], at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a zig-zag number."""
    value = shift = 0
    while True:
        if at >= len(data) or shift > _VARINT_BITS_AT_MOST:
            raise UndecodableError("the value ends within the message's place in its Protobuf schema")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that more follows
            return (value >> 1) ^ -(value & 1), at
