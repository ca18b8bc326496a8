import marshal
import threading

import pytest

from consumer_runtime.user_metrics import SERIES_AT_MOST, UserMetrics


def test_series_are_bounded():
    """A label with an order number does not fill the memory; series that exist go on."""
    mine = UserMetrics()
    for number in range(2 * SERIES_AT_MOST):
        mine.count("orders", order=number)
    mine.count("orders", order=0)
    mine.observe("seconds", 0.1)
    assert len(mine.counts()) == SERIES_AT_MOST
    assert mine.counts()["orders", (("order", "0"),)] == 2
    assert mine.distributions() == {}


def test_what_workers_take_adds_up_in_the_parent():
    """Each taking is sent as plain bytes and begins anew, so that nothing counts twice; other bounds are left out."""
    worker, parent = UserMetrics(), UserMetrics()
    for round_of in (1, 2):
        worker.count("paid", round_of, country="pt")
        worker.observe("items", 3, buckets=(2, 4))
        parent.add(marshal.loads(marshal.dumps(worker.take())))  # noqa: S302 - as between our processes
    assert worker.take() is None
    parent.add(({}, {("items", ()): ((9.0,), [1, 0], 5.0)}))
    assert parent.counts() == {("paid", (("country", "pt"),)): 3}
    ((bounds, counts, total),) = parent.distributions().values()
    assert (bounds, counts, total) == ((2, 4), [0, 2, 0], 6)


def test_threads_lose_no_count():
    """Handlers of mode thread share the counters."""
    mine = UserMetrics()
    threads = [threading.Thread(target=lambda: [mine.count("n") for _ in range(5_000)]) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert mine.counts()["n", ()] == 20_000


@pytest.mark.parametrize("buckets", [(), (1, 1), (2, 1)])
def test_a_mistake_is_told_to_the_handler(buckets):
    """Bounds that do not ascend, and counters that would shrink, with name and value."""
    with pytest.raises(ValueError, match=r"observe\('x', buckets=.*ascending"):
        UserMetrics().observe("x", 1, buckets=buckets)
    with pytest.raises(ValueError, match=r"count\('x', -1\)"):
        UserMetrics().count("x", -1)
