``mongo_proxy``: statistics and logs of what MongoDB's drivers send today, refusals, faults, rate limits, and replica sets behind the proxy.
