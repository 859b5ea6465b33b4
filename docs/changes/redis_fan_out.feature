``fan_out: all_routes`` of ``redis_options`` lets ``KEYS``, ``SCAN``, ``DBSIZE``, ``SCRIPT LOAD`` and the like ask the servers of all routes; keys are told by the names that clients have for them.
