"""
Stand-ins for those who write filters, and for their tests.

A test of a filter is a short conversation: configure the plugin with a
FakeContext, put what it makes into a FakeClient, act as the client, look at
what came out.  What a filter passes inward arrives at FakeClient.upstream;
what it sends arrives at FakeClient.received.  Clusters are FakeCluster: each
connect is kept there until the test accepts or refuses it.  inspect_all shows
bytes to a listener filter.  A gRPC channel is a FakeGrpcChannel, whose calls the test
answers.

Time stands still until the test moves it: context.clock.advance(seconds).

For codecs there are check_chunks, check_round_trip and check_rubbish (the three
properties that each has to keep) and split_anywhere, a hypothesis strategy;
hypothesis is imported by that function only.

Everything here provides the interface that it stands for, and is public:
third parties test their filters with it.
"""

from meshd.testing.client import CLIENT, SERVER, FakeClient, FakeWire, Terminal, inspect_all
from meshd.testing.cluster import FakeCluster, FakeConnecting, FakeEndpoint, FakeHost
from meshd.testing.codecs import check_chunks, check_round_trip, check_rubbish, cut, events_of, split_anywhere
from meshd.testing.context import (
    FakeAccessLogger,
    FakeContext,
    FakeHistogram,
    FakeLogFile,
    FakeNumber,
    FakeResolver,
    FakeRuntime,
    FakeScope,
    FakeText,
    FakeTimer,
    FakeTimers,
)
from meshd.testing.grpc import FakeCall, FakeGrpcChannel

__all__ = [
    "CLIENT",
    "SERVER",
    "FakeAccessLogger",
    "FakeCall",
    "FakeClient",
    "FakeCluster",
    "FakeConnecting",
    "FakeContext",
    "FakeEndpoint",
    "FakeGrpcChannel",
    "FakeHistogram",
    "FakeHost",
    "FakeLogFile",
    "FakeNumber",
    "FakeResolver",
    "FakeRuntime",
    "FakeScope",
    "FakeText",
    "FakeTimer",
    "FakeTimers",
    "FakeWire",
    "Terminal",
    "check_chunks",
    "check_round_trip",
    "check_rubbish",
    "cut",
    "events_of",
    "inspect_all",
    "split_anywhere",
]
