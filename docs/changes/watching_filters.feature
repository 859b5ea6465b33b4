``meshd.filter.WatchingFilter``: a filter that only looks is shown bytes that go straight from socket to socket.
