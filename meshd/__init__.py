"""
A pluggable service-mesh proxy.

A connection goes through meshd like this, and so should a reader:

``net``       accepts it, looks at its first bytes, chooses its filter chain, moves its bytes
``filters``   the links of the chain: each module is a plugin, named in the config
``upstream``  the clusters that a terminal filter connects to: hosts, balancers, limits
``grpc``      how meshd itself asks other services
``observe``   what is counted and logged of it
``admin``     where an operator looks

What a plugin writes against is ``interfaces``, ``filter``, ``plugin`` and
``testing``, and nothing else.  ``discover`` finds the plugins.  ``config`` makes
an Envoy bootstrap out of a file, ``xds`` makes running objects out of that, and
``process`` runs them; ``tap``, ``options`` and ``command`` are the command line.
``codec`` (bytes to values, no I/O) and ``policy`` are what several filters share.
"""

__version__ = "0.1.0"
