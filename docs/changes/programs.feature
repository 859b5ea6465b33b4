A cluster may be a program (``meshd.clusters.exec``), or go where a CONNECT or SOCKS client asks (``meshd.clusters.named_target``); a listener's connections may come from a program or from inetd.
