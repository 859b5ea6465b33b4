Access logs to files, stdout and stderr, as text or JSON, with Envoy's operators, filters and response flags for TCP.
