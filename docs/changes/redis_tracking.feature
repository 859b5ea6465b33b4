The Redis proxy has all of ``CLIENT TRACKING``: ``REDIRECT`` (RESP2 too), ``OPTIN`` and ``OPTOUT`` with ``CLIENT CACHING``, ``BCAST`` at every server, and names that routes change.
