from collections import Counter
from itertools import islice

import pytest

from benchmarks.compare.topics import KEYS, Topic, draws
from benchmarks.compare.works import Keys


def test_zipf_has_a_hot_key_and_uniform_has_none():
    """With exponent 1.1 over 1,000 keys the first has 18 % of all messages."""
    zipf, uniform = (Counter(draws(keys, 50_000)) for keys in (Keys.ZIPF, Keys.UNIFORM))
    assert zipf[0] / 50_000 == pytest.approx(0.18, abs=0.02)
    assert max(uniform.values()) / 50_000 < 3 / KEYS


def test_draws_repeat():
    """The same topic has the same contents on every machine."""
    assert list(islice(draws(Keys.ZIPF, 500), 500)) == list(draws(Keys.ZIPF, 500))


def test_bases_follow_the_partitions():
    """Marks of a partition begin where those before it end."""
    topic = Topic("t", (3, 0, 2))
    assert (topic.messages, topic.bases) == (5, (0, 3, 3))
