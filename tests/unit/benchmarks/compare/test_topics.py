from collections import Counter
from itertools import islice

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from benchmarks.compare.errors import CompareError
from benchmarks.compare.topics import KEYS, PLACE, Contents, Topic, _end, draws, values
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


def test_values_say_where_they_are():
    """A peer whose handler sees nothing but the value can mark it all the same."""
    found = list(islice(values(3, 100), 2))
    assert [PLACE.unpack_from(each) for each in found] == [(3, 0), (3, 1)]
    assert {len(each) for each in found} == {100}


def test_name_tells_topics_of_different_contents_apart():
    """A topic is never taken for one with other contents."""
    shapes = [Contents(messages=5), Contents(messages=5, keys=Keys.ZIPF), Contents(messages=5, key_count=9),
              Contents(messages=5, partitions=9), Contents(messages=5, value_bytes=99)]  # fmt: skip
    assert len({each.name for each in shapes}) == len(shapes)


class _Young:
    """A consumer whose broker does not lead a partition at first, or refuses for good."""

    def __init__(self, *codes: int) -> None:
        self.codes = list(codes)

    def get_watermark_offsets(self, _partition, **_: float) -> tuple[int, int]:
        if self.codes:
            raise KafkaException(KafkaError(self.codes.pop(0)))
        return 0, 7


def test_end_of_a_partition_without_a_leader_is_awaited():
    """A topic that was made a moment ago does not end a run."""
    consumer = _Young(KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)
    assert _end(consumer, TopicPartition("t", 0)) == 7


def test_end_that_is_refused_is_told():
    """With the topic's name and the broker's reason."""
    with pytest.raises(CompareError, match=r"the end of t is not known: .*Topic authorization failed"):
        _end(_Young(KafkaError.TOPIC_AUTHORIZATION_FAILED), TopicPartition("t", 0))
