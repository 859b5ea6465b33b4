Mail, databases and proxies that begin in clear text: the filter ``meshd.filters.network.dialogue`` speaks STARTTLS and the like (SMTP, POP3, IMAP, PostgreSQL, CIFS, CONNECT, SOCKS) with the client.
