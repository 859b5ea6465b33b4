``meshd-stunnel``, ``twistd meshd --stunnel`` and ``meshd expand stunnel.conf``: an existing ``stunnel.conf`` is served as stunnel serves it, with metrics, reload without closed sockets, DNS that is followed, and more in comments.
In a ``stunnel.conf`` ``transparent`` is served: connections go to where clients wanted to go before they were redirected, and come from the clients' addresses.  Other configs have the latter with the ``local_address_selector`` ``meshd.local_address_selectors.client``.
In a ``stunnel.conf`` ``ident`` and ``libwrap`` are served: RFC 1413, ``hosts.allow`` and ``hosts.deny`` say who may come.
A ``stunnel.conf``'s server sends a client that resumes a session of its cache to the backend that it had.  Other filters can put the address of a host that is to be tried first into the filter state ``meshd.failover.first``.
``OCSPflag`` is served in a ``stunnel.conf``, and ``flags`` of ``ocsp`` in ``meshd.tls.options``: what is left out of the checks of OCSP responses.
