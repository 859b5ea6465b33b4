"""
What is said in clear text before TLS begins, or right after it stands.

Each module has the scripts of one protocol: generators that read as the
conversation itself, such as ``line = yield Line(SERVER)``, and end by returning
whether TLS is next.  ``script.Dialogue`` runs one: bytes of the client and of
the server go in, what to say to whom comes out.  Nothing here does I/O: names
are resolved, and time passes, when whoever runs the dialogue says so.

In a script CLIENT and SERVER are always the two ends of the whole: at a proxy
that speaks for a server, CLIENT is who connected and SERVER the backend.

The bytes are those of stunnel 5.68, recorded, so that its users' peers see no
difference: smtp, pop3, imap, nntp, ldap, pgsql, connect, socks and cifs.
"""
