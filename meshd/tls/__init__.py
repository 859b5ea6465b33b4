"""
TLS as a link of a chain: ciphertext outside, plaintext inside.

Read it from the wire inward.  ``openssl`` and ``callbacks`` hold every raw call;
``session`` is one TLS connection without I/O: bytes in, bytes out.  ``link`` is
the filter that puts a session between a socket and the links inside;
``handshakes`` spreads the costly part over the reactor's turns.

A context is what the connections of one filter chain or cluster share:
``parameters`` are plain settings, ``contexts`` makes OpenSSL's contexts of
them, ``server`` and ``client`` are the two sides.  ``config`` reads Envoy's
messages into these, ``options`` what stunnel has and Envoy's messages have not,
and ``plugin`` names the transport sockets.

``certificates`` reads a certificate with its key to a Credential.  What a
certificate says is in ``facts`` (with ``names``, ``der`` and ``pem`` below it);
what is demanded of a peer's in ``validation``, with the names in ``san``, read
from Envoy's message by ``validation_config``.
"""
