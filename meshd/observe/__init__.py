"""
Seeing what meshd does: statistics, access logs, and its own log.

info.py        what is known of a connection, for filters and access logs
stats.py       counters, gauges and where they are made; histogram.py the distributions
tags.py        what a statistic's name says beyond itself; what of them is wanted
readout.py     the statistics as text and JSON; prometheus.py for Prometheus, with
               meanings.py for its help texts
access_log.py  the loggers of connections, made of their config; files.py what they write
               to, log_filters.py which connections are logged
format.py      formats of access logs, made of operators: operators.py those of a
               connection, tls_operators.py those of TLS, foreign_operators.py those of HTTP, operator.py what
               one is; flags.py, times.py and values.py how things look
log.py         meshd's own log and its levels; log_format.py how its lines look
"""
