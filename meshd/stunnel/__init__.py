"""
A stunnel.conf as a config of meshd, and the command that takes stunnel's place.

Read in this order: ``syntax`` cuts the text into lines, ``values`` reads what
stands behind the equals sign, ``global_options`` and ``service_options`` are
the tables of what may stand before it, ``checks`` says what must go together,
and ``reading`` puts these to work: out comes a ``model.Configuration``.
``listeners`` and ``clusters`` translate that into Envoy's own Bootstrap, as
``meshd expand`` prints it; from there on nothing knows of stunnel but the
filters of meshd.filters.network.stunnel, which log as it does.

``extras`` are options in comments that stunnel has not.  ``command`` is the
command line, ``process`` what becomes of the process (daemon, pid file, user),
``service`` the running server with its signals, ``reload`` a new config in the
place of the old one, ``log`` and ``sinks`` stunnel's log.
"""
