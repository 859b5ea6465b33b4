The Redis proxy honours ``CLIENT REPLY OFF`` and ``SKIP``.
