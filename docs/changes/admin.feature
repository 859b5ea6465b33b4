The admin page: Envoy's endpoints for programs, a live view for browsers.
