"""Tests for meshd.config.served."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from meshd.config.served import CORE, EXTENSIONS, TYPES, VALUES
from meshd.config.types import message_class
from tests.config.doubles import cluster, listener, load_text, problems


class TableTests(SynchronousTestCase):
    """The tables name what there is."""

    def fields(self, name: str) -> Any:
        """Return the fields of a message."""
        cls = message_class(name)
        self.assertIsNotNone(cls, name)
        return cls.DESCRIPTOR.fields_by_name

    def test_core(self) -> None:
        """Every message and field is one of Envoy's."""
        for name, served in CORE.items():
            self.assertEqual(set(served) - set(self.fields(name)), set())
            self.assertEqual(len(set(served)), len(served))

    def test_values(self) -> None:
        """Every enum value is one of Envoy's."""
        for (name, field), values in VALUES.items():
            self.assertEqual(set(values) - set(self.fields(name)[field].enum_type.values_by_name), set())

    def test_types(self) -> None:
        """Every message that a field may hold is one of Envoy's, or meshd's own, which has a name only."""
        for (name, field), types in TYPES.items():
            self.assertIn(field, self.fields(name))
            for each in types:
                if not each.startswith("meshd."):
                    self.assertIsNotNone(message_class(each), each)

    def test_extensions(self) -> None:
        """What names a plugin has a typed_config."""
        for name in EXTENSIONS:
            self.assertIn("typed_config", self.fields(name))


class RefusedTests(SynchronousTestCase):
    """What comes in a later issue."""

    def test_clusters(self) -> None:
        """Health checks, outlier detection, subsets and zones are refused, each by name."""
        for line in (
            "health_checks: [{timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: "
            "1, tcp_health_check: {}}]",
            "outlier_detection: {}",
            "lb_subset_config: {}",
            "common_lb_config: {zone_aware_lb_config: {}}",
            "common_lb_config: {locality_weighted_lb_config: {}}",
            "round_robin_lb_config: {slow_start_config: {}}",
            "eds_cluster_config: {eds_config: {ads: {}}}",
        ):
            field = line.replace(": {", ":").split(":")[-2 if "_lb_config: {" in line else 0].strip(" {")
            (found,) = problems(cluster(line))
            self.assertIn("meshd does not serve the field", found)
            self.assertIn(field.split(" ")[-1], found)

    def test_values(self) -> None:
        """Kinds of discovery and balancing that are not served are refused, each by name."""
        for line in ("type: EDS", "type: original_dst", "lb_policy: LOAD_BALANCING_POLICY_CONFIG"):
            (found,) = problems(cluster(line))
            self.assertIn("meshd does not serve", found)

    def test_listeners(self) -> None:
        """So are the listeners that need more than TCP."""
        for line in (
            "use_original_dst: true",
            "udp_listener_config: {}",
            "api_listener: {}",
            "internal_listener: {}",
        ):
            (found,) = problems(listener("filter_chains: [{}]", line))
            self.assertIn(
                f"meshd does not serve the field {line.split(':')[0]} of envoy.config.listener.v3.Listener",
                found,
            )

    def test_place(self) -> None:
        """The error is at the name of the field."""
        (found,) = problems(cluster("outlier_detection: {}"))
        self.assertTrue(found.startswith("4:5: static_resources.clusters[0].outlier_detection: "), found)

    def test_allowed(self) -> None:
        """With allow_unserved each is a warning."""
        document = load_text(
            cluster("outlier_detection: {}", "lb_policy: LOAD_BALANCING_POLICY_CONFIG"), allow_unserved=True
        )
        self.assertEqual([each.line for each in document.warnings], [4, 5])
        self.assertTrue(document.bootstrap.static_resources.clusters[0].HasField("outlier_detection"))

    def test_default(self) -> None:
        """A field that is given with its default changes nothing, and is no error."""
        self.assertEqual(problems(listener("filter_chains: [{}]", "drain_type: DEFAULT")), [])
