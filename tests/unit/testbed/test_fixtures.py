from testbed import fixtures
from testbed.artifacts import Name


def test_only_what_the_tests_request_is_built():
    """A run without a cluster builds no Kubernetes; what two tests share is built once, in the order of building."""
    assert fixtures.builds_for(["tmp_path", "monkeypatch"]) == []
    assert fixtures.builds_for(["kafka", "tmp_path", "kafka"]) == [Name.KAFKA]
    assert fixtures.builds_for(["helm", "control_plane", "kafka"]) == [Name.KAFKA, Name.KUBERNETES, Name.HELM]


def test_every_mapped_fixture_exists():
    """A renamed fixture would be built for no longer, and its first test would run into its deadline."""
    assert not [name for name in fixtures.BUILT_FOR if not hasattr(fixtures, name)]
