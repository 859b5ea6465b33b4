Certificates and validation contexts from ``static_resources.secrets`` and, by SDS, from files (``path_config_source``), exchanged while connections go on; ``watched_directory`` everywhere.
