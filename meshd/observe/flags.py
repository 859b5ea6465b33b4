"""Response flags: why a connection or a request ended as it did, in two spellings."""

from __future__ import annotations

from collections.abc import Collection

#: Short to long name, in the order in which several are written.
FLAGS = {
    "UH": "NoHealthyUpstream",
    "UF": "UpstreamConnectionFailure",
    "UO": "UpstreamOverflow",
    "NR": "NoRouteFound",
    "URX": "UpstreamRetryLimitExceeded",
    "NC": "NoClusterFound",
    "DT": "DurationTimeout",
    "DC": "DownstreamConnectionTermination",
    "LH": "FailedLocalHealthCheck",
    "UT": "UpstreamRequestTimeout",
    "LR": "LocalReset",
    "UR": "UpstreamRemoteReset",
    "UC": "UpstreamConnectionTermination",
    "DI": "DelayInjected",
    "FI": "FaultInjected",
    "RL": "RateLimited",
    "UAEX": "UnauthorizedExternalService",
    "RLSE": "RateLimitServiceError",
    "IH": "InvalidEnvoyRequestHeaders",
    "SI": "StreamIdleTimeout",
    "DPE": "DownstreamProtocolError",
    "UPE": "UpstreamProtocolError",
    "UMSDR": "UpstreamMaxStreamDurationReached",
    "RFCF": "ResponseFromCacheFilter",
    "NFCF": "NoFilterConfigFound",
    "OM": "OverloadManagerTerminated",
    "DF": "DnsResolutionFailed",
    "DO": "DropOverload",
    "DR": "DownstreamRemoteReset",
    "UDO": "UnconditionalDropOverload",
}


def short_flags(flags: Collection[str]) -> str:
    """Return the flags joined by commas, "-" if there are none; unknown ones come last."""
    return ",".join(_sorted(flags)) if flags else "-"


def long_flags(flags: Collection[str]) -> str:
    """Return the long names of the flags joined by commas, "-" if there are none."""
    return ",".join(FLAGS.get(flag, flag) for flag in _sorted(flags)) if flags else "-"


def _sorted(flags: Collection[str]) -> list[str]:
    if len(flags) == 1:
        return list(flags)
    return [flag for flag in FLAGS if flag in flags] + sorted(flag for flag in flags if flag not in FLAGS)
