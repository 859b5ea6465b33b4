"""
What must go together in a section, looked at when it is complete, in stunnel's order.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from meshd.stunnel import psk, values
from meshd.stunnel.model import DEBUG, ERR, INFO, NOTICE, WARNING, Address, Configuration, Globals, Service
from meshd.stunnel.syntax import Failure
from meshd.stunnel.values import VERSIONS, Bad

Say = Callable[[int, str], None]

#: The protocols by name: whether they can be spoken as client, and as server.
PROTOCOLS = {
    "cifs": (True, True),
    "connect": (True, True),
    "imap": (True, True),
    "ldap": (True, False),
    "nntp": (True, False),
    "pgsql": (True, True),
    "pop3": (True, True),
    "proxy": (False, True),
    "smtp": (True, True),
    "socks": (True, True),
}
#: Protocols whose dialogue needs the backend before TLS says who the client is.
CONNECT_FIRST = ("smtp", "pop3", "imap")


def check_globals(options: Globals) -> None:
    """Raise Failure for what is wrong with the options of the whole process."""
    for value, name in ((options.output, "Log"), (options.pid, "Pid")):
        if value and not value.startswith("/"):
            raise Failure(f"Global options: {name} file must include full path name")


def check(service: Service, found: Configuration, say: Say) -> None:
    """Complete a section's addresses, and raise Failure for what is wrong with it."""
    section = service is not found.defaults
    whose = f"Service [{service.name}]" if section else "Inetd mode"

    def fail(text: str) -> None:
        raise Failure(f"{whose}: {text}")

    _addresses(service, say, fail)
    _subjects(service, fail)
    _secrets(service, fail)
    _redirect(service, say, fail)
    if service.sni_patterns and not service.client:
        _sni(service, found, fail)
    _tickets(service, say, fail)
    tls = service.tls
    order = ("", *VERSIONS)
    if tls.max_version and order.index(tls.min_version) > order.index(tls.max_version):
        fail("Invalid protocol version range")
    if (tls.verify_chain or tls.verify_peer) and not (
        tls.ca_file or tls.ca_path or "CAengine" in service.idle
    ):
        fail('Either "CAengine", "CAfile" or "CApath" has to be configured')
    if not service.client and not tls.cert and not tls.psk_secrets:
        fail("TLS server needs a certificate")
    _protocol(service, fail)
    _endpoints(service, found)
    _impossible(service, fail)
    _context(service, say)


def _endpoints(service: Service, found: Configuration) -> None:
    """Raise Failure if the section has not two ends, or inetd mode not one."""
    if service is not found.defaults:
        if service.endpoints != 2:
            raise Failure(f"Service [{service.name}]: Each service must define two endpoints")
        return
    if service.accept_names:
        raise Failure("Inetd mode: 'accept' option is only allowed in a [section]")
    if service.endpoints != 1:
        raise Failure("Inetd mode: Inetd mode must define one endpoint")


def _impossible(service: Service, fail: Callable[[str], None]) -> None:
    """Refuse what cannot be done here, by name: nothing that was asked for is left out in silence."""
    tls = service.tls
    for wanted, name, why in (
        (
            not service.client and tls.ticket_key,
            "ticketKeySecret",
            "keys of session tickets are OpenSSL's own",
        ),
        (
            service.libwrap and service.sni_patterns and not service.client,
            "libwrap",
            'with "sni" it is the first section that asks',
        ),
    ):
        if wanted:
            fail(f'"{name}" is not supported: {why}')


def _addresses(service: Service, say: Say, fail: Callable[[str], None]) -> None:
    service.accept = _readable(service.accept_names, "0.0.0.0", say)
    if service.accept_names and not service.accept:
        fail("Cannot resolve accept target")
    service.connect = _readable(service.connect_names, "localhost", say)
    if service.connect_names and not service.connect:
        service.delay = True
        say(INFO, "Cannot resolve connect target - delaying DNS lookup")


def _readable(names: Sequence[str], host: str, say: Say) -> list[Address]:
    """Return the addresses that can be read; say what is wrong with the others."""
    found = []
    for name in names:
        try:
            found.append(values.address(name, host))
        except Bad as bad:
            for line in bad.lines:
                say(ERR, line)
    return found


def _subjects(service: Service, fail: Callable[[str], None]) -> None:
    tls = service.tls
    if (tls.check_hosts or tls.check_ips or tls.check_emails) and not (tls.verify_chain or tls.verify_peer):
        fail('Either "verifyChain" or "verifyPeer" has to be enabled')


def _protocol(service: Service, fail: Callable[[str], None]) -> None:
    name = service.protocol.name
    if not name:
        return
    if name in ("capwin", "capwinctrl"):
        fail(f"The '{name}' protocol is not supported: it is CapWIN's own")
    if name not in PROTOCOLS:
        fail("Protocol not supported")
    as_client, as_server = PROTOCOLS[name]
    if service.client and not as_client:
        fail(f"The '{name}' protocol is not supported in the client mode")
    if not service.client and not as_server:
        fail(f"The '{name}' protocol is not supported in the server mode")


def _secrets(service: Service, fail: Callable[[str], None]) -> None:
    """Look for the client's identity; the file was read when its option was."""
    tls = service.tls
    if tls.psk_secrets and service.client and tls.psk_identity:
        try:
            known = psk.read_secrets(tls.psk_secrets, lambda level, text: None)
        except psk.BadSecrets as bad:
            raise Failure(str(bad)) from None
        if tls.psk_identity not in known:
            fail("No key found for the specified PSK identity")


def _redirect(service: Service, say: Say, fail: Callable[[str], None]) -> None:
    if not service.redirect_names:
        return
    service.redirect = _readable(service.redirect_names, "localhost", say)
    if service.client:
        fail('"redirect" is unsupported in client sections')
    if service.protocol.name in CONNECT_FIRST:
        fail('"redirect" is incompatible with the specified protocol negotiation')
    if not (service.tls.verify_chain or service.tls.verify_peer):
        fail('Either "verifyChain" or "verifyPeer" has to be enabled for "redirect" to work')


def _sni(service: Service, found: Configuration, fail: Callable[[str], None]) -> None:
    for pattern in service.sni_patterns:
        name, colon, _ = pattern.partition(":")
        if not colon:
            fail("Invalid SNI parameter format")
        primary = next((each for each in found.services if each.name.lower() == name.lower()), None)
        if primary is None:
            fail("SNI section name not found")
        elif primary.client:
            fail("SNI primary service is a TLS client")


def _tickets(service: Service, say: Say, fail: Callable[[str], None]) -> None:
    tls = service.tls
    if not tls.ticket_key and not tls.ticket_mac:
        return
    if service.client:
        for name, value in (("ticketKeySecret", tls.ticket_key), ("ticketMacSecret", tls.ticket_mac)):
            if value:
                say(NOTICE, f"{name} is ignored in the client mode")
        return
    if not (tls.ticket_key and tls.ticket_mac):
        fail('"ticketKeySecret" and "ticketMacSecret" must be set together')


def _context(service: Service, say: Say) -> None:
    """Say what stunnel says of a TLS context, and warn of what is not safe."""
    tls = service.tls
    if tls.security_level is None:
        say(INFO, "OpenSSL security level is used: 2")
    else:
        say(INFO, f"User-specified security level set: {tls.security_level}")
    say(DEBUG, f"Ciphers: {tls.ciphers}")
    say(DEBUG, f"TLSv1.3 ciphersuites: {tls.ciphersuites}")
    say(INFO, f"Session resumption {'enabled' if tls.session_resume else 'disabled'}")
    if tls.cert:
        key = tls.key or tls.cert
        say(INFO, f"Loading certificate from file: {tls.cert}")
        say(INFO, f"Loading private key from file: {key}")
        if os.path.exists(key) and psk.insecure(key):
            say(WARNING, f"Insecure file permissions on {key}")
    else:
        say(DEBUG, "No certificate or private key specified")
    _warn_of_peers(service, say)


def _warn_of_peers(service: Service, say: Say) -> None:
    tls = service.tls
    if not service.client:
        return
    if not tls.verify_chain and not tls.verify_peer and not tls.psk_secrets:
        say(WARNING, f"Service [{service.name}] needs authentication to prevent MITM attacks")
    elif (
        tls.verify_chain
        and not tls.verify_peer
        and not (tls.check_hosts or tls.check_ips or tls.check_emails)
    ):
        say(WARNING, f'Service [{service.name}] uses "verifyChain" without subject checks')
        say(WARNING, 'Use "checkHost" or "checkIP" to restrict trusted certificates')
