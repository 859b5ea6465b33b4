``meshd.filters.network.factory`` runs a Twisted protocol factory as the end of a filter chain.
