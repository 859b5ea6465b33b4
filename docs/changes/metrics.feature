The admin page answers ``/metrics`` as it does ``/stats/prometheus``.
