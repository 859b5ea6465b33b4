"""
Tests for meshd.admin.certs.

The form was seen with Envoy for the same certificates.
"""

import json
from datetime import UTC, datetime
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from meshd.testing import FakeScope
from meshd.tls.certificates import read_credential
from meshd.tls.validation import Settings, Validation
from tests.admin.fakes import FakeServer, get
from tests.tls.authority import DAY, Authority

BEGIN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ROOT = Authority()
LEAF = ROOT.issue(
    dns=["a.example"],
    uri=["spiffe://td/a"],
    ip=["10.0.0.1"],
    email=["a@b"],
    serial=0xAB,
    not_before=BEGIN,
    not_after=BEGIN + 10 * DAY,
)


class CertsTests(SynchronousTestCase):
    """/certs."""

    def setUp(self) -> None:
        self.server = FakeServer()
        self.server.tls.registry.clock = (BEGIN + DAY / 2).timestamp

    def asked(self) -> Any:
        """Return what /certs answers."""
        answer = get(self.server, "/certs")
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "application/json"))
        return json.loads(answer.body)["certificates"]

    def test_none(self) -> None:
        """Without TLS there are none."""
        self.assertEqual(get(self.server, "/certs").body, '{\n "certificates": []\n}\n')

    def test_empty(self) -> None:
        """A context that uses none is listed."""
        self.server.tls.registry.enter(FakeScope())
        self.assertEqual(self.asked(), [{"ca_cert": [], "cert_chain": []}])

    def test_used(self) -> None:
        """What a context uses is listed, with names, dates, and the OCSP response."""
        used = read_credential(LEAF.pem, LEAF.key_pem, None, "<inline>")
        used.staple = ROOT.ocsp(LEAF, this_update=BEGIN, next_update=BEGIN + DAY)
        trusted = Validation(Settings(trusted_ca=ROOT.alone, source="/etc/ca.pem"))
        self.server.tls.registry.enter(FakeScope()).show([used], trusted)
        (context,) = self.asked()
        self.assertEqual(
            context["cert_chain"],
            [
                {
                    "path": "<inline>",
                    "serial_number": "ab",
                    "subject_alt_names": [
                        {"dns": "a.example"},
                        {"uri": "spiffe://td/a"},
                        {"ip_address": "10.0.0.1"},
                    ],
                    "days_until_expiration": "9",
                    "valid_from": "2026-01-02T03:04:05Z",
                    "expiration_time": "2026-01-12T03:04:05Z",
                    "ocsp_details": {
                        "valid_from": "2026-01-02T03:04:05Z",
                        "expiration": "2026-01-03T03:04:05Z",
                    },
                }
            ],
        )
        self.assertEqual(context["ca_cert"][0]["path"], "/etc/ca.pem")
        self.assertEqual(context["ca_cert"][0]["subject_alt_names"], [])
