Redis transactions follow ``ASK``, and ``WATCH`` follows ``MOVED`` and ``ASK``; if watched keys have moved, ``EXEC`` answers null.
