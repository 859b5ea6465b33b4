"""Tests for meshd.options."""

import io
import sys
from dataclasses import fields

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from meshd.options import LATER, CommandLine, Options, read_options


class ReadTests(SynchronousTestCase):
    """Options that are right."""

    def test_defaults(self) -> None:
        """What is not given is as with Envoy."""
        options = read_options(["-c", "x.yaml"])
        self.assertEqual(options, Options(config_path="x.yaml"))
        self.assertEqual(options.drain_time_s, 600)
        self.assertEqual(options.parent_shutdown_time_s, 900)
        self.assertEqual(options.file_flush_interval_msec, 10000)
        self.assertEqual((options.mode, options.log_level), ("serve", "info"))

    def test_spellings(self) -> None:
        """A value follows a space or an equals sign; -c and -l are short."""
        long = read_options(["--config-path", "x", "--log-level", "debug", "--drain-time-s", "5"])
        equals = read_options(["--config-path=x", "--log-level=debug", "--drain-time-s=5"])
        short = read_options(["-c", "x", "-l", "debug", "--drain-time-s=5"])
        self.assertEqual(long, equals)
        self.assertEqual(long, short)
        self.assertEqual((long.config_path, long.log_level, long.drain_time_s), ("x", "debug", 5))

    def test_every_option(self) -> None:
        """Each option can be given, and arrives under its name."""
        values = {"mode": "validate", "log_level": "error", "drain_strategy": "immediate"}
        values |= {"component_log_level": "a:debug,b:off", "stats_tag": "a:b", "restart_epoch": "0"}
        arguments = []
        given = [each for each in fields(Options) if each.name != "stunnel"]  # stands instead of others
        for each in given:
            name = "--" + each.name.replace("_", "-")
            arguments.append(
                name if each.metadata["read"] is None else f"{name}={values.get(each.name, '7')}"
            )
        options = read_options(arguments)
        self.assertEqual(set(options.given()), {each.name for each in given} - {"restart_epoch"})
        self.assertEqual(options.component_log_level, (("a", "debug"), ("b", "off")))
        self.assertEqual((options.base_id, options.service_zone), (7, "7"))
        self.assertIs(options.allow_unserved, True)
        self.assertIs(options.disable_hot_restart, True)

    def test_stunnel(self) -> None:
        """A stunnel.conf stands instead of a configuration of Envoy's form."""
        self.assertEqual(read_options(["--stunnel=x"]).stunnel, "x")
        self.assertRaises(UsageError, read_options, ["--stunnel=x", "-c", "y"])

    def test_warn(self) -> None:
        """warn is another word for warning."""
        self.assertEqual(read_options(["-c", "x", "-l", "warn"]).log_level, "warning")

    def test_stats_tags(self) -> None:
        """--stats-tag may be repeated."""
        options = read_options(["-c", "x", "--stats-tag", "zone:a", "--stats-tag=pod:b-1"])
        self.assertEqual(options.stats_tag, (("zone", "a"), ("pod", "b-1")))

    def test_notices(self) -> None:
        """Each option that has no effect yet is told, if it is given."""
        self.assertEqual(read_options(["-c", "x", "--concurrency", "0"]).notices(), [])
        options = read_options(["-c", "x", "--concurrency=4", "--base-id=1", "--drain-time-s=1"])
        self.assertEqual(
            options.notices(),
            [
                "--concurrency has no effect yet: it will come with worker processes",
                "--base-id has no effect yet: it will come with hot restart",
            ],
        )
        self.assertLessEqual(set(LATER), {each.name for each in fields(Options)})


class WrongTests(SynchronousTestCase):
    """Options that are wrong."""

    def test_values(self) -> None:
        """A value that an option cannot have is named, with its option."""
        for argument, error in (
            ("--mode=foo", "--mode: unknown mode 'foo'"),
            ("--drain-strategy=foo", "--drain-strategy: unknown drain-strategy 'foo'"),
            ("--stats-tag=foo", "misformatted stats-tag 'foo'"),
            ("--stats-tag=a:b.c", "misformatted stats-tag 'a:b.c'"),
            (
                "--component-log-level=foo",
                "--component-log-level: component log level not correctly specified 'foo'",
            ),
        ):
            self.assertEqual(str(self.assertRaises(UsageError, read_options, ["-c", "x", argument])), error)
        for argument in ("-lfoo", "--component-log-level=a:b"):
            error = str(self.assertRaises(UsageError, read_options, ["-c", "x", argument]))
            self.assertIn("invalid log level specified", error)

    def test_numbers(self) -> None:
        """A number is one from 0 to 2**32 - 1."""
        self.assertEqual(read_options(["-c", "x", "--base-id=4294967295"]).base_id, 4294967295)
        for text in ("-1", "4294967296", "x", "", "1.5", "0x1", "²"):
            self.assertRaises(UsageError, read_options, ["-c", "x", f"--base-id={text}"])

    def test_together(self) -> None:
        """What makes no sense together, or without something else, is refused."""
        for arguments in (
            ["-c", "x", "--use-dynamic-base-id", "--restart-epoch=1"],
            ["-c", "x", "--config-path=y"],
            ["-c", "x", "--stats-tag=a:b", "--stats-tag=a:c"],
            ["-c", "x", "y"],
            ["-c"],
            ["-c", "x", "--bogus"],
            [],
        ):
            self.assertRaises(UsageError, read_options, arguments)


class CommandLineTests(SynchronousTestCase):
    """As twistd reads them."""

    def run_with(self, *arguments: str) -> tuple[int, str, str]:
        """Return the exit status, and what is on stdout and stderr."""
        out, err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", out)
        self.patch(sys, "stderr", err)
        error = self.assertRaises(SystemExit, CommandLine().parseOptions, list(arguments))
        return int(error.code or 0), out.getvalue(), err.getvalue()

    def test_error(self) -> None:
        """A wrong option is one line on stderr and status 1, as with Envoy."""
        self.assertEqual(
            self.run_with("-c", "x", "--mode=foo"), (1, "", "error: --mode: unknown mode 'foo'\n")
        )

    def test_help(self) -> None:
        """--help lists every option."""
        status, out, _ = self.run_with("--help")
        self.assertEqual(status, 0)
        for each in fields(Options):
            self.assertIn("--" + each.name.replace("_", "-"), out)

    def test_version(self) -> None:
        """--version prints meshd's, not Twisted's."""
        status, out, _ = self.run_with("--version")
        self.assertEqual(status, 0)
        self.assertRegex(out, r"^meshd version: \d+\.\d+\.\d+\n$")
