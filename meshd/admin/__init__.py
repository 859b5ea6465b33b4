"""
The admin page: what an operator sees of meshd, and may change, over HTTP.

It answers as Envoy's admin does: same paths, formats, status codes and texts.

query.py     what a request asks, and what is answered
menu.py      the commands as they are listed: path, help, parameters
commands.py  which function answers which
site.py      the twisted.web Site: limits, methods, origins, errors
state.py     /ready, /server_info, /memory, /init_dump: the process itself
clusters.py  /clusters and /listeners, as text and as JSON
dump.py      /config_dump; mask.py cuts and redacts it
control.py   the commands that change something: logging, runtime, drain, quit
numbers.py   /stats, /stats/prometheus
pages.py     / for people: HTML; parts.py has what changes, look.py style and
             script, markup.py what makes tags

Nothing here is imported by the rest of meshd but ``meshd.admin.site.site``,
which makes the Site of a running server.
"""
