"""
Processes: today one, which reads the config, listens and carries the traffic.

``server`` puts the parts of a worker together from the options and the config.
``worker`` is the Twisted service around it: start, signals, drain, end.
``admin`` is the admin page's listening socket.

Worker processes will each be a server of their own: what a parent sends them
are the resources that the config file holds now (meshd.xds.resources), so the
seam is Resources.apply.
"""
