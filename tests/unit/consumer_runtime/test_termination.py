import pytest

from consumer_runtime import StartFailure, termination
from consumer_runtime.contract import pod
from consumer_runtime.contract.state import StartError, StartReason

FAILURE = StartFailure.because(
    StartReason.TOPIC_NOT_FOUND, field="spec.source.kafka.topics", value="ordes", remedy="create it", detail="more"
)


def test_a_failure_is_told_to_the_operator_and_to_people(tmp_path, monkeypatch, capsys):
    """JSON of the contract in the termination message, one clear last line on standard error, its own exit code."""
    message = tmp_path / "termination-log"
    monkeypatch.setenv(pod.TERMINATION_MESSAGE_FILE_VARIABLE, str(message))
    assert termination.report(FAILURE) == 14
    assert StartError.model_validate_json(message.read_text(encoding="utf-8")) == FAILURE.error
    assert capsys.readouterr().err.splitlines() == [
        "more",
        "TopicNotFound: spec.source.kafka.topics is 'ordes': create it",
    ]


@pytest.mark.parametrize("path", ["", "absent/termination-log", "."])
def test_no_place_for_the_message_is_no_failure_of_its_own(tmp_path, monkeypatch, capsys, path):
    """The exit code and the line remain."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(pod.TERMINATION_MESSAGE_FILE_VARIABLE, path)
    assert termination.report(FAILURE) == 14
    assert "TopicNotFound" in capsys.readouterr().err


def test_every_reason_has_an_exit_code_of_its_own():
    """And none that means something else: 0, 1, 2, or 128 and above (signals)."""
    codes = [termination.EXIT_CODES[reason] for reason in StartReason]
    assert len(set(codes)) == len(codes)
    assert all(2 < code < 126 for code in codes)
