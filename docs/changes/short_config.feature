A short form of the configuration, with ``${ENV}`` and ``${ENV:-default}``; ``meshd expand FILE`` prints what it stands for.
