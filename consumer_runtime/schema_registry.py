"""A schema registry as a source of schemas: the part of Confluent's REST contract that a consumer needs.

`GET /schemas/ids/{id}` and `GET /subjects/{subject}/versions/{version}`; schemas never change, so each is asked for
once. By the standard library: the registry's own client brings ten packages for these two requests. Not here: decoding
(`schema_kinds`), when it is asked (`schemas`).
"""

import base64
import json
import ssl
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from consumer_runtime.contract import pod
from consumer_runtime.errors import ConsumerError

_TIMEOUT_SECONDS = 10.0
_PAUSES_SECONDS = (0.2, 1.0)
_BYTES_AT_MOST = 8_388_608
_NOT_FOUND = 404
_USERNAME = Path(pod.REGISTRY_USERNAME_FILE).name
_PASSWORD = Path(pod.REGISTRY_PASSWORD_FILE).name


class SchemaRegistryError(ConsumerError):
    """The registry could not be asked; the attempt counts as failed and is made again, as retry settings say."""


class NoSuchSchemaError(ConsumerError):
    """The registry knows no such schema: the message can never be decoded."""


class Reference(NamedTuple):
    """Another schema that one imports under a name."""

    name: str
    subject: str
    version: int


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema as text. `kind` is AVRO, JSON or PROTOBUF; of the last `text` is a base64 FileDescriptorProto."""

    kind: str
    text: str
    references: tuple[Reference, ...] = ()


class SchemaRegistry:
    """One registry. Safe from any thread; requests are made one at a time."""

    def __init__(
        self,
        url: str,
        *,
        username: str | None = None,
        password: str | None = None,
        credentials_location: str | None = None,
        ca_location: str | None = None,
        certificate_location: str | None = None,
        key_location: str | None = None,
    ) -> None:
        """Take its address and a login; nothing connects before the first question. Files are PEM."""
        self._url = url.rstrip("/")
        self._login = None if username is None else (username, password or "")
        self._credentials = None if credentials_location is None else Path(credentials_location)
        self._files = (ca_location, certificate_location, key_location)
        self._tls()
        self._lock = threading.Lock()

    def _tls(self) -> ssl.SSLContext | None:
        """Read the certificates anew for each of the few requests, since they are replaced meanwhile."""
        if not self._url.startswith("https:"):
            return None
        authority, certificate, key = self._files
        context = ssl.create_default_context(cafile=authority)
        if certificate is not None:
            context.load_cert_chain(certificate, key)
        return context

    def _headers(self) -> dict[str, str]:
        """The login too is read anew for each request."""
        headers = {"Accept": "application/vnd.schemaregistry.v1+json, application/json"}
        login = self._login
        if login is None and self._credentials is not None:
            login = _line(self._credentials / _USERNAME), _line(self._credentials / _PASSWORD)
        if login is not None:
            headers["Authorization"] = "Basic " + base64.b64encode(":".join(login).encode()).decode()
        return headers

    def by_id(self, number: int) -> Schema:
        """Return the schema of a message. Raises NoSuchSchemaError and SchemaRegistryError."""
        return self._schema(f"/schemas/ids/{number}")

    def referenced(self, reference: Reference) -> Schema:
        """Return what another schema refers to. Raises as `by_id`."""
        subject = urllib.request.quote(reference.subject, safe="")  # type: ignore[attr-defined]
        return self._schema(f"/subjects/{subject}/versions/{reference.version}")

    def _schema(self, path: str) -> Schema:
        found = self._get(path)
        kind = str(found.get("schemaType") or "AVRO")
        if kind == "PROTOBUF":
            found = self._get(f"{path}?format=serialized")
        references = tuple(
            Reference(str(each["name"]), str(each["subject"]), int(each["version"]))
            for each in found.get("references") or ()
        )
        return Schema(kind, str(found["schema"]), references)

    def _get(self, path: str) -> dict[str, Any]:
        with self._lock:
            for pause in _PAUSES_SECONDS:
                try:
                    return self._ask(path)
                except SchemaRegistryError:
                    time.sleep(pause)
            return self._ask(path)

    def _ask(self, path: str) -> dict[str, Any]:
        address = self._url + path
        try:
            request = urllib.request.Request(address, headers=self._headers())  # noqa: S310 - settings allow http(s) only
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS, context=self._tls()) as answer:  # noqa: S310
                found = json.loads(answer.read(_BYTES_AT_MOST))
        except urllib.error.HTTPError as error:
            if error.code == _NOT_FOUND:
                raise NoSuchSchemaError(f"{address}: the schema registry knows no such schema") from error
            raise SchemaRegistryError(f"{address}: the schema registry answered {error.code} {error.reason}") from error
        except (OSError, ValueError) as error:  # URLError and time-outs are OSErrors, what is no JSON a ValueError
            raise SchemaRegistryError(f"{address}: the schema registry could not be asked: {error}") from error
        if not isinstance(found, dict) or "schema" not in found:
            raise SchemaRegistryError(f"{address}: the schema registry's answer holds no schema")
        return found


def _line(file: Path) -> str:
    """A trailing newline is an editor's. Many registries take a token for the name, and no password."""
    return file.read_text("utf-8").rstrip("\r\n") if file.is_file() else ""
