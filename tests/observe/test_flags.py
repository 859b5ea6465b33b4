"""Tests for meshd.observe.flags."""

from meshd.observe.flags import long_flags, short_flags


def test_none() -> None:
    """No flag is a dash."""
    assert short_flags(set()) == "-"
    assert long_flags(()) == "-"


def test_one() -> None:
    """A flag has a short and a long name."""
    assert short_flags({"NC"}) == "NC"
    assert long_flags({"NC"}) == "NoClusterFound"


def test_order() -> None:
    """Several are in Envoy's order, and unknown ones come last."""
    assert short_flags({"UT", "URX", "ZZ", "UF"}) == "UF,URX,UT,ZZ"
    assert long_flags({"URX", "UF"}) == "UpstreamConnectionFailure,UpstreamRetryLimitExceeded"
