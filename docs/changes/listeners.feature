Listeners on TCP and unix sockets: filter-chain matching, listener filters with their time-out, connection limits, access logs.
