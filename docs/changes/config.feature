Envoy's v3 configuration is read as Envoy reads it, YAML or JSON; all that is wrong is told at once, each with file, line and column.
