The core: a TCP proxy built of filter plugins, run by ``twistd meshd`` or ``meshd`` from Envoy's own configuration.
