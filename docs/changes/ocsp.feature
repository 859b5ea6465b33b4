OCSP stapling by Envoy's policies, with responses from the config or fetched from the certificate's responder (``fetch_staples``).
