The listener filters ``proxy_protocol`` and ``http_inspector``.
