"""Tests for meshd.config.supported."""

from docutils.core import publish_doctree
from docutils.utils import Reporter
from twisted.trial.unittest import SynchronousTestCase

from meshd.config.served import CORE
from meshd.config.supported import supported
from tests.config.doubles import PLUGINS


class SupportedTests(SynchronousTestCase):
    """The page of what is supported."""

    def setUp(self) -> None:
        self.text = supported(PLUGINS)

    def test_plugins(self) -> None:
        """Every plugin is there with its config, what it serves and what it does not."""
        self.assertIn("envoy.filters.network.tcp_proxy\n~~~", self.text)
        self.assertIn("Config: ``envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy``", self.text)
        self.assertIn("``weighted_clusters.clusters.name``", self.text)
        self.assertRegex(self.text, "Not served: .*``tunneling_config``")

    def test_attrs(self) -> None:
        """A plugin with an attrs class is there as well."""
        self.assertIn("Config: ``acme.filters.greeting`` (an attrs class)", self.text)
        self.assertIn("Served: ``loud``, ``socket``, ``text``, ``times``.", self.text)

    def test_core(self) -> None:
        """Every message of the core is there, and the values that are served."""
        for name in CORE:
            self.assertIn(f"{name}\n~", self.text)
        self.assertIn("Values of ``type``: ``STATIC``, ``STRICT_DNS``, ``LOGICAL_DNS``.", self.text)
        self.assertIn("``envoy.extensions.access_loggers.file.v3.FileAccessLog``", self.text)
        self.assertIn("``envoy.extensions.load_balancing_policies.maglev.v3.Maglev``", self.text)

    def test_rst(self) -> None:
        """It is reStructuredText without a fault."""
        settings = {"report_level": Reporter.WARNING_LEVEL, "halt_level": Reporter.WARNING_LEVEL}
        publish_doctree(self.text, settings_overrides=settings)
