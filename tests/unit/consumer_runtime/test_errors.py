import math

import pytest

from consumer_runtime import ConsumerError, Reject, RetryAfter, StartFailure
from consumer_runtime.contract.state import StartError, StartReason


def test_a_start_failure_fits_the_termination_message():
    """Texts of any length are cut to what the contract accepts, and the kubelet's 4096 bytes hold the JSON."""
    failure = StartFailure.because(
        StartReason.INVALID_SETTINGS, field="f" * 9_999, value="v" * 9_999, remedy="r" * 9_999, detail="d" * 9_999
    )
    sent = failure.error.model_dump_json()
    assert StartError.model_validate_json(sent) == failure.error
    assert len(sent) < 4_096


@pytest.mark.parametrize("seconds", [-1, -0.001, math.nan, "soon", None])
def test_retry_after_refuses_what_is_no_wait(seconds):
    """A negative or undefined wait is the handler's mistake, told where it is made."""
    with pytest.raises(ValueError, match="a number of seconds, 0 or more"):
        RetryAfter(seconds)


def test_what_a_handler_raises_reads_well():
    """The text of a signal is what logs and dead letter headers show."""
    assert str(RetryAfter(1.5, "rate limited")) == "retry after 1.5 s: rate limited"
    assert str(Reject("no such customer")) == "no such customer"


def test_everything_raised_on_purpose_has_one_root():
    """One except clause catches all of it."""
    for error in (
        RetryAfter(1),
        Reject(),
        StartFailure.because(StartReason.KAFKA_FAILED, field="", value="", remedy=""),
    ):
        assert isinstance(error, ConsumerError)
