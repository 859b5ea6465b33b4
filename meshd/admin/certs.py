"""/certs: every certificate in use, by the contexts that use it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from envoy.admin.v3.certs_pb2 import Certificate, CertificateDetails, Certificates

from meshd.admin.query import Answer, Query, Server, as_json, plain
from meshd.tls.ocsp import Response
from meshd.tls.registry import Entry, Shown


def certs(server: Server, query: Query) -> Answer:
    """Answer /certs: an envoy.admin.v3.Certificates."""
    now = server.tls.registry.clock()
    made = Certificates(certificates=[_context(entry, now) for entry in server.tls.registry])
    return as_json(plain(made, defaults=True))


def _context(entry: Entry, now: float) -> Any:
    return Certificate(
        ca_cert=[_details(each, now) for each in entry.trusted],
        cert_chain=[_details(each, now) for each in entry.certificates],
    )


def _details(shown: Shown, now: float) -> Any:
    """Return what Envoy tells of a certificate; it leaves out names of other types than these."""
    facts = shown.facts
    made = CertificateDetails(
        path=shown.path or "<inline>",
        serial_number=facts.serial,
        days_until_expiration=shown.days(now),
    )
    for name in facts.dns_sans:
        made.subject_alt_names.add(dns=name)
    for name in facts.uri_sans:
        made.subject_alt_names.add(uri=name)
    for name in facts.ip_sans:
        made.subject_alt_names.add(ip_address=name)
    _put(made.valid_from, facts.not_before)
    _put(made.expiration_time, facts.not_after)
    if shown.staple is not None:
        response = Response(shown.staple)
        _put(made.ocsp_details.valid_from, response.this_update)
        if response.next_update is not None:
            _put(made.ocsp_details.expiration, response.next_update)
    return made


def _put(stamp: Any, when: datetime) -> None:
    stamp.FromSeconds(int(when.timestamp()))
