"""Tests for meshd.observe.histogram."""

from hypothesis import given
from hypothesis import strategies as st

from meshd.observe.histogram import QUANTILES, Histogram, Statistics, bucket_of, width_of


class TestBuckets:
    """The log-linear buckets."""

    @given(st.integers(0, 2**63))
    def test_holds_value(self, value: int) -> None:
        """A value lies in its bucket, and the bucket's lower end is in the same bucket."""
        bucket = bucket_of(value)
        assert bucket <= value
        assert value == bucket or value < bucket + width_of(bucket)
        assert bucket_of(bucket) == bucket

    @given(st.integers(0, 2**63))
    def test_recorded_there(self, value: int) -> None:
        """Recording counts the value in its bucket."""
        histogram = Histogram("h")
        histogram.record(value)
        histogram.roll()
        assert histogram.cumulative == {bucket_of(value): 1}

    @given(st.integers(1, 2**63))
    def test_precise(self, value: int) -> None:
        """A bucket is at most a tenth as wide as its values are large."""
        assert width_of(bucket_of(value)) <= value / 10

    def test_fraction_and_sign(self) -> None:
        """Fractions are dropped, and what is less than 0 is 0."""
        histogram = Histogram("h")
        histogram.record(2.9)
        histogram.record(-3)
        histogram.roll()
        assert histogram.cumulative == {0: 1, 2: 1}


class TestStatistics:
    """What is told of recorded values, against what Envoy 1.40 told of the same."""

    def test_quantiles(self) -> None:
        """Quantiles are those that Envoy prints."""
        found = Statistics({3: 2, 4: 1, 130: 3, 1300: 3}).quantiles()
        assert found == [3.033333333333333, 4.05, 135, 1325, 1375, 1375, 1375, 1375, 1375, 1375]

    def test_quantiles_one_bucket(self) -> None:
        """The values of one bucket are at even distances in it."""
        found = Statistics({1: 12}).quantiles()
        assert found[:6] == [
            *(1.0076923076923077, 1.023076923076923, 1.0461538461538462),
            *(1.0692307692307692, 1.0846153846153845, 1.0923076923076924),
        ]

    def test_zero(self) -> None:
        """Zeroes are exactly 0."""
        assert Statistics({0: 12}).quantiles() == [0] * 10
        assert Statistics({0: 12}).sum == 0

    def test_nothing(self) -> None:
        """Nothing has no quantiles."""
        assert Statistics({}).quantiles() == []
        assert Statistics({}).sum == 0
        assert Statistics({}).below([1, 2]) == [0, 0]

    def test_sum(self) -> None:
        """The sum is estimated to the last digit as Envoy does."""
        assert f"{Statistics({3: 2, 4: 1, 130: 3, 1300: 3}).sum:.32g}" == "4459.0366322606760149938054382801"
        assert f"{Statistics({1: 12}).sum:.32g}" == "12.571428571428572951163005200215"

    def test_below(self) -> None:
        """A bucket counts below a bound that it begins at, or that lies in it, as in Envoy."""
        statistics = Statistics({3: 2, 4: 1, 130: 3, 1300: 3})
        assert statistics.below([0.5, 3, 4, 129, 130, 135, 140, 1000, 2500]) == [0, 2, 3, 3, 6, 6, 6, 6, 9]

    @given(st.lists(st.integers(0, 10**9), min_size=1))
    def test_in_order(self, values: list[int]) -> None:
        """Quantiles grow, and lie between the ends of the buckets of the least and the greatest."""
        histogram = Histogram("h")
        for value in values:
            histogram.record(value)
        histogram.roll()
        found = Statistics(histogram.cumulative).quantiles()
        last = bucket_of(max(values))
        assert found == sorted(found)
        assert len(found) == len(QUANTILES)
        assert found[0] >= bucket_of(min(values))
        assert found[-1] <= last + width_of(last)


class TestHistogram:
    """A histogram over several intervals."""

    def test_several(self) -> None:
        """Values that are alike may be counted at once."""
        one, other = Histogram("h"), Histogram("h")
        one.record(117, 3)
        for _ in range(3):
            other.record(117)
        one.roll()
        other.roll()
        assert one.cumulative == other.cumulative

    def test_roll(self) -> None:
        """Each interval is shown when it is over, and all of them in the sum."""
        histogram = Histogram("h")
        histogram.record(5)
        assert not histogram.used
        histogram.roll()
        assert (histogram.interval, histogram.cumulative) == ({5: 1}, {5: 1})
        histogram.record(5)
        histogram.record(7)
        histogram.roll()
        assert (histogram.interval, histogram.cumulative) == ({5: 1, 7: 1}, {5: 2, 7: 1})
        histogram.roll()
        assert (histogram.interval, histogram.cumulative) == ({}, {5: 2, 7: 1})
