``/certs`` lists every certificate in use with its expiry, ``/config_dump`` the secrets; gauges tell when the first certificate expires.
