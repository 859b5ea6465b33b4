``meshd.filters.network.source_ratelimit`` limits the rate of connections of each source address.
