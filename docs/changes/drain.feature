``SIGTERM`` and ``SIGINT`` drain: connections have ``--drain-time-s`` to end.  ``SIGUSR1`` opens the logs anew.
