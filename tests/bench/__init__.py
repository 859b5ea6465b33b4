"""
What a relay costs, measured side by side: ``python -m tests.bench``.

``__main__`` reads the command line; ``rows`` has one function for each row of
the table; ``proxies`` knows how each candidate is configured and started,
``programs`` starts and ends processes; ``load`` is the clients, ``openloop``
the one that measures latency; ``measure`` reads /proc; ``table`` prints.
``profile`` says where meshd spends its time.
"""
