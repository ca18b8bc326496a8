import os
from pathlib import Path

import pytest

from consumer_runtime.contract.settings import KafkaSettings
from consumer_runtime.errors import StartFailure
from consumer_runtime.sources.certificates import Certificates
from consumer_runtime.sources.credentials import Credentials, read
from consumer_runtime.sources.properties import client_properties, portable_properties, restored


class Client:
    """What is seen of a client here: the login that it was given last."""

    def __init__(self) -> None:
        self.login: tuple[str, str] | None = None

    def set_sasl_credentials(self, username: str, password: str) -> None:
        """As confluent-kafka's clients."""
        self.login = (username, password)


def put(folder: Path, username: str, password: str) -> None:
    """Write the two files anew."""
    for name, text in (("username", username), ("password", password)):
        new = folder / "new"
        new.write_text(text, encoding="utf-8")
        new.replace(folder / name)


def settings(folder: Path, mechanism: str) -> KafkaSettings:
    """Settings with a login in a folder."""
    return KafkaSettings.model_validate(
        {
            "bootstrap_servers": ["b:1"], "topics": ["t"], "consumer_group": "g", "security_protocol": "SASL_SSL",
            "sasl_mechanism": mechanism, "credentials_location": str(folder),
            "properties": {"sasl.oauthbearer.method": "oidc"} if mechanism == "OAUTHBEARER" else {},
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("mechanism", "username", "password"),
    [
        ("PLAIN", "sasl.username", "sasl.password"),
        ("SCRAM-SHA-512", "sasl.username", "sasl.password"),
        ("OAUTHBEARER", "sasl.oauthbearer.client.id", "sasl.oauthbearer.client.secret"),
    ],
)
def test_a_client_logs_in_with_what_the_files_hold_now(tmp_path, mechanism, username, password):
    """Also one that is made later, in another process, from what was written down before the change."""
    put(tmp_path, "shop", "first\n")
    stated = settings(tmp_path, mechanism)
    properties, portable = client_properties(stated), portable_properties(stated)
    assert (properties[username], properties[password]) == ("shop", "first")
    put(tmp_path, "store", "second")
    later = restored(portable)
    assert (later[username], later[password]) == ("store", "second")
    assert "credentials_location" not in later


def test_running_clients_are_given_a_new_login(tmp_path):
    """Once for each change, to all of them."""
    put(tmp_path, "shop", "first")
    clients = [Client(), Client()]
    credentials = Credentials({"sasl.mechanism": "PLAIN"}, str(tmp_path))
    credentials.renew(clients, 10.0)
    assert [each.login for each in clients] == [None, None]
    put(tmp_path, "shop", "second")
    credentials.renew(clients, 20.0)
    assert [each.login for each in clients] == [("shop", "second")] * 2
    clients[0].login = None
    credentials.renew(clients, 30.0)
    assert clients[0].login is None


def test_a_login_that_cannot_be_read_is_tried_again(tmp_path):
    """Half a change, or bytes that are no text: the login in force stays until there is another."""
    put(tmp_path, "shop", "first")
    client = Client()
    credentials = Credentials({"sasl.mechanism": "PLAIN"}, str(tmp_path))
    (tmp_path / "password").write_bytes(b"\xff\xfe")
    credentials.renew([client], 10.0)
    (tmp_path / "password").unlink()
    credentials.renew([client], 20.0)
    assert client.login is None
    put(tmp_path, "shop", "second")
    credentials.renew([client], 30.0)
    assert client.login == ("shop", "second")


def test_the_login_of_an_openid_client_needs_a_new_client(tmp_path):
    """Its client takes no other id and secret for one that it has: the way of certificates."""
    put(tmp_path, "shop", "first")
    properties = client_properties(settings(tmp_path, "OAUTHBEARER"))
    certificates = Certificates(properties, credentials_location=str(tmp_path))
    client = Client()
    credentials = Credentials(properties, str(tmp_path))
    put(tmp_path, "shop", "second")
    credentials.renew([client], 10.0)
    assert client.login is None
    assert certificates.changed(10.0)
    assert not certificates.changed(20.0)


def test_a_folder_without_a_login_is_named(tmp_path):
    """The field, the folder, and what has to be in it."""
    with pytest.raises(StartFailure, match="`username` and `password`") as failure:
        read(str(tmp_path))
    assert failure.value.error.field == "spec.source.kafka.credentialsSecretRef"
    assert failure.value.error.value == os.fspath(tmp_path)
