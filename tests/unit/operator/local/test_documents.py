"""What a user gives to the local mode: read as kubectl would, and refused with the field's name when it is wrong."""

from pathlib import Path

import pytest

from parallel_consumer_operator.errors import InvalidResourceError
from parallel_consumer_operator.local import documents

CONSUMER = """
kind: ParallelConsumer
metadata: {name: orders}
spec:
  source: {kafka: {bootstrapServers: ["k:9092"], topics: [orders], consumerGroup: shop}}
  handler: {entrypoint: "shop.orders:handle"}
"""


def test_a_folder_is_read_whole_and_other_files_are_left_alone(tmp_path: Path):
    """Each document of each YAML file, in the files' order; a handler beside them is no document."""
    (tmp_path / "a.yaml").write_text("kind: ConfigMap\n---\n---\nkind: Secret\n")
    (tmp_path / "b.yml").write_text(CONSUMER)
    (tmp_path / "handler.py").write_text("nothing: [of ours")
    kinds = [document["kind"] for document in documents.read(tmp_path)]
    assert kinds == ["ConfigMap", "Secret", "ParallelConsumer"]


@pytest.mark.parametrize(
    ("text", "field", "words"),
    [
        (CONSUMER.replace("entrypoint", "entripoint"), "spec.handler", "required"),
        (CONSUMER + "  execution: {mode: fast}\n", "spec.execution.mode", "async"),
        (CONSUMER + "  execution: {maxInFlight: 0}\n", "spec.execution.maxInFlight", "greater than or equal to 1"),
        (CONSUMER + "  tuning: {knobs: {maxInFlight: {min: 9, max: 3}}}\n", "spec.tuning", "at most max 3"),
        (CONSUMER + "---" + CONSUMER, "kind", "exactly one"),
        ("kind: ConfigMap", "kind", "exactly one"),
        ("a: [", "-f", "cannot be read"),
        ("- 1", "-f", "must be an object"),
    ],
)
def test_a_mistake_is_named_with_its_field_and_what_is_allowed(tmp_path: Path, text: str, field: str, words: str):
    """No traceback: one error with the field in the spec's spelling and a remedy."""
    file = tmp_path / "it.yaml"
    file.write_text(text)
    with pytest.raises(InvalidResourceError) as caught:
        documents.the_consumer(documents.read(file))
    assert caught.value.field.startswith(field)
    assert words in str(caught.value)


def test_a_file_that_is_not_there_is_named():
    """The path stands in the error."""
    with pytest.raises(InvalidResourceError, match="no-such"):
        documents.read(Path("no-such.yaml"))
