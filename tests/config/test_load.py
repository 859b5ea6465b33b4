"""Tests for meshd.config.load."""

import time
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from meshd.config.errors import BadConfig
from meshd.config.load import Document, load
from tests.config.doubles import PLUGINS, cluster, filters, load_text, problems, tcp

WORDS = st.sampled_from(
    [
        "static_resources:",
        "listeners:",
        "clusters:",
        "admin:",
        "-",
        "[",
        "]",
        "{",
        "}",
        "\n",
        "\n",
        "",
        "\n",
        "",
        "",
        "",
        "name:",
        "a",
        "address:",
        "127.0.0.1:80",
        ",",
        "echo",
        "tcp_proxy:",
        "cluster:",
        "hosts:",
        "'@type':",
        "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo",
        "&",
        "*",
        "&a",
        "*a",
        "5",
        "null",
        "true",
        "<<:",
        "${A}",
        '"',
        "'",
        "|",
        "filters:",
        "filter_chains:",
        "typed_config:",
        "match:",
        "connect_timeout:",
        "1s",
        "type:",
        "node:",
        "metadata:",
        "x:",
    ]
)


class FileCase(SynchronousTestCase):
    """Files to load."""

    def write(self, text: str | bytes, name: str = "c.yaml") -> str:
        """Write a file; return its path."""
        path = Path(self.mktemp())
        path.mkdir()
        (path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path / name)

    def bad(self, path: str | None, text: str | None = None) -> list[str]:
        """Return what is wrong with a config."""
        error = self.assertRaises(BadConfig, load, path, text, PLUGINS, environ={})
        return [str(each) for each in error.problems]


class LoadTests(FileCase):
    """Loading files."""

    def test_yaml_and_json(self) -> None:
        """YAML and JSON mean the same, JSON with tabs too."""
        for text in ("node:\n  id: a\n", '{"node": {"id": "a"}}', '{\n\t"node":\t{"id": "\\u0061"}}'):
            self.assertEqual(load(self.write(text), None, PLUGINS, environ={}).bootstrap.node.id, "a")

    def test_byte_order_mark(self) -> None:
        """A byte order mark does no harm."""
        self.assertEqual(
            load(self.write(b"\xef\xbb\xbfnode: {id: a}"), None, PLUGINS, environ={}).bootstrap.node.id, "a"
        )

    def test_unreadable(self) -> None:
        """A file that cannot be read, or is not UTF-8, is BadConfig."""
        self.assertIn("cannot be read: No such file", self.bad(self.mktemp())[0])
        self.assertIn("cannot be read", self.bad("a\0b")[0])
        path = self.write(b"node:\n  id: \xff\n")
        self.assertEqual(self.bad(path), [f"{path}:2:7: this is not UTF-8"])

    def test_nothing(self) -> None:
        """Some config there must be; an empty object is one."""
        self.assertIn("no config", self.bad(None)[0])
        self.assertIn("expected an object, not null", self.bad(None, "")[0])
        self.assertIsInstance(load_text("{}"), Document)

    def test_bad_json(self) -> None:
        """Of what begins as JSON and is neither, JSON's error is told."""
        path = self.write('{\n\t"node": {"id" "x"}\n}\n')
        self.assertEqual(self.bad(path), [f"{path}:2:16: node: ':' was expected here"])

    def test_all_at_once(self) -> None:
        """Errors of reading, rules, what is not served and references come together, in the file's order."""
        found = problems(
            filters(tcp("stat_prefix: a, cluster: b"))
            + "  clusters:\n  - nam: c\n  - {name: d, outlier_detection: {}, connect_timeout: 0s}\n"
        )
        self.assertEqual([line.split(":")[0] for line in found], ["7", "9", "10", "10"])

    def test_environment(self) -> None:
        """A variable that is not set is an error with its place."""
        (line,) = problems("node:\n  id: ${NONE}\n")
        self.assertTrue(line.startswith("2:7: node.id: the environment variable NONE is not set"), line)
        self.assertEqual(load_text("node: {id: '${A}'}", {"A": "5"}).bootstrap.node.id, "5")

    def test_unknown_fields(self) -> None:
        """With allow_unknown_static a field that no message has is a warning."""
        document = load_text("node: {idd: 5}", allow_unknown_static=True)
        self.assertIn("did you mean 'id'?", str(document.warnings[0]))

    def test_warnings(self) -> None:
        """What is odd and no error is a warning."""
        document = load_text("node: {id: a}\nnode: {id: b}\n---\nx: y\n")
        self.assertEqual([each.line for each in document.warnings], [2, 3])
        self.assertEqual(document.bootstrap.node.id, "b")


class MergeTests(FileCase):
    """--config-yaml over a file."""

    def test_merge(self) -> None:
        """Values replace, messages merge, lists grow, as protobuf does."""
        path = self.write("node: {id: a, cluster: c}\n" + cluster())
        found = load(
            path, "node: {id: b}\nstatic_resources: {clusters: [{name: z}]}", PLUGINS, environ={}
        ).bootstrap
        self.assertEqual((found.node.id, found.node.cluster), ("b", "c"))
        self.assertEqual([each.name for each in found.static_resources.clusters], ["a", "z"])

    def test_places(self) -> None:
        """Errors show where each part came from."""
        path = self.write(cluster("outlier_detection: {}"))
        found = self.bad(path, "static_resources: {clusters: [{name: z, dns_jitter: -1s}]}")
        self.assertTrue(
            found[0].startswith("--config-yaml:1:53: static_resources.clusters[1].dns_jitter"), found
        )
        self.assertTrue(
            found[1].startswith(f"{path}:4:5: static_resources.clusters[0].outlier_detection"), found
        )

    def test_across(self) -> None:
        """What the one names the other may have."""
        path = self.write(filters(tcp("stat_prefix: a, cluster: z")))
        self.assertEqual(len(self.bad(path)), 1)
        load(path, "clusters: {z: []}", PLUGINS, environ={})

    def test_replaced(self) -> None:
        """An Any is replaced as a whole."""
        path = self.write("admin: {access_log: []}\n")
        self.assertEqual(
            len(load(path, "admin: {address: {pipe: {path: /x}}}", PLUGINS, environ={}).warnings), 0
        )


class DocumentTests(SynchronousTestCase):
    """Finding the place of what went wrong later."""

    def test_problem(self) -> None:
        """A path leads to its place, or to the nearest around it."""
        document = load_text(filters(tcp("stat_prefix: a, cluster: a")) + "  clusters: [{name: a}]\n")
        path = ("static_resources", "listeners", 0, "filter_chains", 0, "filters", 0, "typed_config")
        problem = document.problem("bad", *path, "stat_prefix")
        self.assertEqual(
            (problem.line, problem.path),
            (7, "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.stat_prefix"),
        )
        self.assertEqual(document.problem("bad", *path, "access_log", 0).line, 7)
        self.assertEqual(str(document.problem("bad")), "--config-yaml:1:1: bad")


class SizeTests(SynchronousTestCase):
    """Large and strange files."""

    def test_large(self) -> None:
        """Ten thousand lines load in a few seconds."""
        lines = ["clusters:"]
        for number in range(1700):
            lines += [
                f"  c{number}:",
                "    connect_timeout: 0.25s",
                "    circuit_breakers:",
                "      thresholds:",
                "      - max_connections: 5",
            ]
            lines.append(f"    hosts: ['10.0.0.1:{number + 1}', '10.0.0.2:80']")
        start = time.process_time()
        load_text("\n".join(lines))
        self.assertLess(time.process_time() - start, 8.0)

    @given(st.lists(WORDS, max_size=40).map(" ".join) | st.text(max_size=40))
    def test_rubbish(self, text: str) -> None:
        """Any text is a Document, or BadConfig with a reason; never anything else."""
        try:
            self.assertIsInstance(load_text(text, {"A": "x"}), Document)
        except BadConfig as error:
            self.assertTrue(error.problems)
