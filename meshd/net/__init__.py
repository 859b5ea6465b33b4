"""
How bytes move: sockets, the poller that watches them, and the links' two ends.

Read it in this order.  ``poller`` keeps one edge-triggered epoll for all
sockets of the data plane and is itself one reader of the Twisted reactor.
``stream`` is a connected socket on the poller, with the face of a Twisted
transport: writes go out at once, reads are pushed to the protocol inside.
``relay`` sends what one stream reads straight to another, by the kernel when
there is much of it.  ``timers`` are the connections' time-outs.

``listener`` accepts sockets and asks the listener filters (``inspect``) what
they are; ``match`` chooses the filter chain; ``connection`` is the head link
of the chain, which every filter knows as ``self.connection``.
"""
