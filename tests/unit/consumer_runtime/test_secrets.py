from pathlib import Path

from consumer_runtime import secrets
from consumer_runtime.contract import pod
from consumer_runtime.contract.settings import RuntimeSettings

STATED = RuntimeSettings.for_kafka("b:1", topics=["t"], consumer_group="g")


def _mount(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / Path(name).relative_to(pod.SECRETS_DIRECTORY)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


ALL = {
    pod.USERNAME_FILE: b"shop\n",
    pod.PASSWORD_FILE: b"hunter2\n",
    pod.CA_FILE: b"PEM",
    pod.CERTIFICATE_FILE: b"PEM",
    pod.KEY_FILE: b"PEM",
}


def test_what_is_mounted_is_filled_in(tmp_path):
    """Texts as values without an editor's newline, certificates as paths."""
    _mount(tmp_path, ALL)
    kafka = secrets.with_secrets(STATED, tmp_path).source.kafka
    assert kafka.sasl_username == "shop"
    assert kafka.sasl_password is not None
    assert kafka.sasl_password.get_secret_value() == "hunter2"
    assert kafka.credentials_location == str(tmp_path / "credentials"), "it is read again when it changes"
    locations = (kafka.ca_location, kafka.certificate_location, kafka.key_location)
    assert [Path(location).read_bytes() for location in locations if location] == [b"PEM"] * 3


def test_the_registrys_login_stays_in_its_files(tmp_path):
    """They are read for each question, so that a new password counts; one that is stated stays."""
    _mount(tmp_path, {pod.REGISTRY_USERNAME_FILE: b"token"})
    for login, location in (({}, str(tmp_path / "credentials")), ({"username": "me", "password": "x"}, None)):
        stated = RuntimeSettings.for_kafka(
            "b:1", topics=["t"], consumer_group="g", schema_registry={"url": "http://r:1", **login}
        )
        registry = secrets.with_secrets(stated, tmp_path).source.kafka.schema_registry
        assert registry is not None
        assert registry.credentials_location == location


def test_without_mounts_nothing_changes(tmp_path):
    """Most clusters of a laptop have no secrets."""
    assert secrets.with_secrets(STATED, tmp_path) == STATED


def test_a_password_never_shows(tmp_path):
    """Neither in a representation nor in a dump that ends up in a log."""
    _mount(tmp_path, ALL)
    filled = secrets.with_secrets(STATED, tmp_path)
    assert "hunter2" not in repr(filled)
    assert "hunter2" not in filled.model_dump_json()


def test_the_environment_names_another_directory(monkeypatch, tmp_path):
    """For a machine that is no pod."""
    assert secrets.directory() == Path(pod.SECRETS_DIRECTORY)
    monkeypatch.setenv(pod.SECRETS_DIRECTORY_VARIABLE, str(tmp_path))
    assert secrets.directory() == tmp_path
