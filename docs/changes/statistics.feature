Statistics under Envoy's names, also for Prometheus, with ``# HELP`` lines.
