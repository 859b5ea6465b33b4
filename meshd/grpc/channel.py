"""What makes calls: a Channel for each service of the config, over the pools of a worker."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from meshd.grpc.call import Call
from meshd.grpc.pool import Pool
from meshd.grpc.service import Service, read_service
from meshd.grpc.unary import Unary
from meshd.interfaces import IFactoryContext, IGrpcChannel, IGrpcReceiver


@implementer(IGrpcChannel)
class Channel:
    """Makes calls to one service."""

    def __init__(self, service: Service, pool: Pool) -> None:
        self.service = service
        self._pool = pool

    def start(self, method: str, receiver: IGrpcReceiver) -> Call:
        """Begin a call."""
        call = Call(self.service, method, receiver, self._pool)
        call.begin(self._pool.timers)
        return call

    def unary(self, method: str, request: Any, response: Any) -> Deferred[Any]:
        """Call a method with one message each way."""
        receiver = Unary(response)
        receiver.call = self.start(method, receiver)
        receiver.call.send(request.SerializeToString(), last=True)
        return receiver.deferred


class Pools:
    """The pools of a worker, by the names of the clusters."""

    def __init__(self) -> None:
        self._pools: dict[str, Pool] = {}

    def channel(self, config: Any, timeout: float, context: IFactoryContext) -> Channel:
        """Return the channel that a GrpcService message describes; raise ConfigError."""
        service = read_service(config, timeout)
        pool = self._pools.get(service.cluster)
        if pool is None:
            pool = self._pools[service.cluster] = Pool(context, service.cluster)
        return Channel(service, pool)

    def leave(self) -> None:
        """Keep no connection that has no calls: the configuration has been replaced."""
        for pool in self._pools.values():
            pool.leave()
