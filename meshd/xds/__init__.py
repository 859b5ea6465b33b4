"""
From resources to running objects.

A resource is a v3 message: a Listener, a Cluster.  Those of the bootstrap file
enter here now; what a control plane or a parent process sends are the same
messages and will enter by the same way.

``context`` is what plugins are handed.  ``listeners`` reads a Listener message
into a listener.  ``resources`` keeps what runs, by name.
"""
