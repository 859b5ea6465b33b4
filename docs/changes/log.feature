The process's own log: text in Envoy's patterns or JSON lines, with levels that can be changed while it runs.
