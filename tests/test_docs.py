"""Tests that the documentation and the examples say what is so."""

import json
import os
import re
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import fields
from pathlib import Path
from textwrap import dedent
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from meshd.config.errors import BadConfig
from meshd.config.load import load
from meshd.config.supported import supported
from meshd.discover import Plugins, find_plugins
from meshd.options import LATER, Options
from meshd.testing import FakeClient, FakeContext
from meshd.testing.context import FakeScope
from meshd.tls.options import TlsOptions
from meshd.tls.stats import TlsStats
from tests.ports import free_port
from tests.test_command import MESHD, CommandCase
from tests.tls.authority import Authority

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def code(text: str, language: str) -> list[str]:
    """Return the pieces of code of a language in a Markdown file."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


class ReadmeTests(SynchronousTestCase):
    """The first thing that people read."""

    def setUp(self) -> None:
        self.text = (ROOT / "README.md").read_text()

    def test_config(self) -> None:
        """The configurations are some."""
        names = []
        for config in code(self.text, "yaml"):
            document = load(None, config, find_plugins(), environ={})
            self.assertEqual(document.warnings, [])
            names += [each.name for each in document.bootstrap.static_resources.clusters]
        self.assertEqual(names, ["redis", "web"])

    def test_filter(self) -> None:
        """The filter is one, and does what it says."""
        [source] = code(self.text, "python")
        module: dict[str, Any] = {}
        exec(source, module)
        plugins = Plugins()
        plugins.add(module["shout"], "README.md")
        self.assertEqual(plugins.failed, [])
        client = FakeClient(module["shout"].configure(module["Config"](), FakeContext())())
        client.send(b"hello")
        self.assertEqual(client.upstream.received, b"HELLO")

    def test_links(self) -> None:
        """What it links to is there."""
        for target in re.findall(r"\]\(([^):]+)\)", self.text):
            self.assertTrue((ROOT / target).exists(), target)


class ExampleTests(SynchronousTestCase):
    """docs/examples."""

    def test_all_load(self) -> None:
        """Every example is a configuration, without a warning."""
        for path in sorted((DOCS / "examples").glob("*.yaml")):
            self.assertEqual(load(str(path), None, find_plugins(), environ=os.environ).warnings, [])

    def test_banner(self) -> None:
        """What make run prints names only addresses that the demo has."""
        head, _, rest = (DOCS / "examples/demo.yaml").read_text().partition("\n\n")
        for port in re.findall(r"127\.0\.0\.1[: ](\d+)", head):
            self.assertIn(f"127.0.0.1:{port}", rest)


class DemoTests(CommandCase):
    """What make run starts."""

    def test_front(self) -> None:
        """The front answers as each of the backends in turn, and the admin page is there."""
        text = (DOCS / "examples/demo.yaml").read_text()
        ports = {port: free_port() for port in set(re.findall(r"127\.0\.0\.1:(\d+)", text))}
        for port, other in ports.items():
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{other}")
        self.write("demo.yaml", text)
        process = self.start(*MESHD, "-c", "demo.yaml")
        self.wait_for(ports["8090"], process)
        answers = [get(ports["8080"], "/") for _ in range(30)]
        self.assertEqual(set(answers), {f"I am the {word}.\n" for word in ("first", "second", "third")})
        self.assertEqual(get(ports["9901"], "/ready"), "LIVE\n")


class TlsExampleTests(CommandCase):
    """docs/examples/tls.yaml."""

    def setUp(self) -> None:
        super().setUp()
        text = (DOCS / "examples/tls.yaml").read_text()
        self.ports = {port: free_port() for port in set(re.findall(r"127\.0\.0\.1:(\d+)", text))}
        for port, other in self.ports.items():
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{other}")
        self.root = Authority()
        front = self.root.issue("front", dns=["front.example"], uri=["spiffe://example/front"])
        front.write(self.directory, "front")
        self.root.issue("inner", dns=["inner.example"]).write(self.directory, "inner")
        self.write("ca.pem", self.root.alone.decode())
        self.write("tls.yaml", text.replace("${CERTS:-/etc/meshd}", str(self.directory)))

    def test_strict(self) -> None:
        """There is nothing to warn of."""
        process = self.start(*MESHD, "validate", "--strict", "tls.yaml")
        said, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0, said)

    def wait_until_ready(self, process: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                self.assertEqual(get(self.ports["9901"], "/ready"), "LIVE\n")
                return
            except urllib.error.URLError:
                if process.poll() is not None:
                    self.fail(process.communicate()[1])
                self.assertLess(time.monotonic(), deadline, "it is not ready")
                time.sleep(0.05)

    def test_echo(self) -> None:
        """What is said through TLS, TLS with a certificate and an echo comes back; /certs tells of all."""
        process = self.start(*MESHD, "-c", "tls.yaml")
        self.wait_until_ready(process)
        context = ssl.create_default_context(cadata=self.root.alone.decode())
        with (
            socket.create_connection(("127.0.0.1", int(self.ports["8443"])), 30) as plain,
            context.wrap_socket(plain, server_hostname="front.example") as client,
        ):
            client.sendall(b"hello")
            self.assertEqual(client.recv(5), b"hello")
        told = get(self.ports["9901"], "/certs")
        for name in ("front.example", "inner.example", "days_until_expiration"):
            self.assertIn(name, told)


class TlsPageTests(SynchronousTestCase):
    """docs/tls.rst."""

    def setUp(self) -> None:
        self.text = (DOCS / "tls.rst").read_text()

    def test_configs(self) -> None:
        """Each whole configuration on the page is one, and has nothing to be warned of."""
        found = re.findall(r"^\.\. code-block:: yaml\n\n((?:    .*\n|\n)+)", self.text, re.M)
        whole = [dedent(each) for each in found if each.startswith("    listeners:")]
        self.assertEqual(len(whole), 2)
        for each in whole:
            self.assertEqual(load(None, each, find_plugins(), environ={}).warnings, [])

    def test_options(self) -> None:
        """Each field of TlsOptions is on the page."""
        section = self.text.partition("\nTlsOptions\n")[2].partition("\nFor filters\n")[0]
        for each in attrs.fields(TlsOptions):
            self.assertIn(f"``{each.name}``", section)

    def test_counters(self) -> None:
        """Each counter is on the page."""
        scope = FakeScope()
        TlsStats(scope, is_client=True)
        TlsStats(scope, is_client=False)
        for each in scope.numbers:
            self.assertIn(f"``{each.rpartition('.')[2]}``", self.text, each)

    def test_not_served(self) -> None:
        """What the page says is an error is one."""
        section = self.text.partition("\nWhat cannot be served\n")[2].partition("SDS by gRPC")[0]
        value = {"name": "x"}
        of_common: dict[str, Any] = {
            "custom_validator_config": {"validation_context": {"custom_validator_config": value}}
        }
        of_common["tls_certificate_provider_instance"] = {"tls_certificate_provider_instance": {}}
        of_common["compliance_policies"] = {"tls_params": {"compliance_policies": ["FIPS_202205"]}}
        certificate = {"private_key_provider": {"provider_name": "x"}}
        of_common["private_key_provider"] = {"tls_certificates": [certificate]}
        places = {
            **{name: ("transport", {"common_tls_context": each}) for name, each in of_common.items()},
            "session_ticket_keys": ("transport", {"session_ticket_keys": {}}),
            "session_ticket_keys_sds_secret_config": (
                "transport",
                {"session_ticket_keys_sds_secret_config": value},
            ),
            "require_sni": ("transport", {"require_sni": True}),
            "enforce_rsa_key_usage": ("upstream", {"enforce_rsa_key_usage": True}),
            "allow_renegotiation": ("upstream", {"allow_renegotiation": True}),
            "generic_secret": ("secret", {"name": "s", "generic_secret": {}}),
        }
        named = set(re.findall(r"``(\w+)``", re.sub("^    .*$", "", section, flags=re.M)))
        self.assertEqual(named - {"Secret"}, set(places))
        for name, (place, config) in places.items():
            document: dict[str, Any] = {
                "listeners": {"127.0.0.1:1": ["echo"]},
                "clusters": {"c": "127.0.0.1:2"},
            }
            if place == "transport":
                chain = {"filters": ["echo"], "transport_socket": {"tls": config}}
                document["listeners"] = {"127.0.0.1:1": {"filter_chains": [chain]}}
            elif place == "upstream":
                document["clusters"] = {"c": {"hosts": "127.0.0.1:2", "transport_socket": {"tls": config}}}
            else:
                document = {"static_resources": {"secrets": [config]}}
            with self.assertRaises(BadConfig) as caught:
                load(None, json.dumps(document), find_plugins(), environ={})
            self.assertIn(name, str(caught.exception))


def get(port: int, path: str) -> str:
    """Return what a GET of the path is answered with."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as response:
        return str(response.read().decode())


class PagesTests(SynchronousTestCase):
    """The pages."""

    def test_supported(self) -> None:
        """The list of what is served is what the source says; make docs writes it."""
        self.assertEqual((DOCS / "supported.rst").read_text(), supported(find_plugins()))

    def test_differences(self) -> None:
        """Each difference on purpose that has a test is on the page, and none that has not."""
        tests = (ROOT / "tests/interop/test_differences.py").read_text()
        page = (DOCS / "differences.rst").read_text()
        self.assertEqual(
            set(re.findall(r"``(test_\w+)``", page)), set(re.findall(r"^def (test_\w+)", tests, re.M))
        )
        of_tls = "tests/interop/test_tls_differences.py"
        self.assertEqual(
            set(re.findall(rf"``{of_tls}::(test_\w+)``", page)),
            set(re.findall(r"^def (test_\w+)", (ROOT / of_tls).read_text(), re.M)),
        )

    def test_tests(self) -> None:
        """Each test that a page names is there."""
        for page in DOCS.glob("*.rst"):
            for path, name in re.findall(r"``(tests/[\w/]+\.py)::(test_\w+)``", page.read_text()):
                self.assertIn(f"def {name}(", (ROOT / path).read_text(), f"{page.name} names {path}::{name}")

    def test_index(self) -> None:
        """Each page is in the index."""
        listed = set(re.findall(r"^   (\w+)$", (DOCS / "index.rst").read_text(), re.M))
        self.assertEqual(listed, {page.stem for page in DOCS.glob("*.rst")} - {"index"})

    def test_options(self) -> None:
        """Each option that has no effect yet is in the table of them, and no other."""
        text = (DOCS / "operations.rst").read_text()
        for each in fields(Options):
            named = f"``--{each.name.replace('_', '-')}``" in table_of(text)
            self.assertEqual(named, each.name in LATER, each.name)


def table_of(text: str) -> str:
    """Return the first table of a page."""
    lines = text.splitlines()
    rules = [number for number, line in enumerate(lines) if re.fullmatch("=+  =+", line)]
    return "\n".join(lines[rules[0] : rules[2] + 1])
