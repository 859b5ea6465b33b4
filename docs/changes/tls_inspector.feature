The listener filter ``tls_inspector``: filter chains by SNI and ALPN, JA3 and JA4 fingerprints; a warning where a chain needs it and it is missing.
