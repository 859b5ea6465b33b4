"""Tests for meshd.config.errors."""

from twisted.trial.unittest import SynchronousTestCase

from meshd.config.errors import BadConfig, Place, Problem, Report, Spot, did_you_mean, dotted, locate


class ProblemTests(SynchronousTestCase):
    """How problems are shown."""

    def test_text(self) -> None:
        """A problem is FILE:LINE:COLUMN: path: message."""
        self.assertEqual(str(Problem("f.yaml", 3, 5, "a.b", "bad")), "f.yaml:3:5: a.b: bad")

    def test_no_line(self) -> None:
        """What concerns a whole file has no line, and no path."""
        self.assertEqual(str(Problem("f.yaml", 0, 0, "", "bad")), "f.yaml: bad")

    def test_order(self) -> None:
        """All problems are there once, in the order of the file."""
        first, second = Problem("f", 1, 9, "", "x"), Problem("f", 2, 1, "", "y")
        error = BadConfig([second, first, second])
        self.assertEqual(error.problems, [first, second])
        self.assertEqual(str(error), "f:1:9: x\nf:2:1: y")

    def test_path(self) -> None:
        """Numbers stand in brackets, and so do keys that are no names."""
        self.assertEqual(dotted(("a", 0, "b")), "a[0].b")
        self.assertEqual(dotted(("listeners", "0.0.0.0:80", 1)), 'listeners["0.0.0.0:80"][1]')

    def test_suggestion(self) -> None:
        """The nearest name is suggested, in any case; nothing if none is near."""
        self.assertEqual(did_you_mean("Clustr", ["cluster", "name"]), "; did you mean 'cluster'?")
        self.assertEqual(did_you_mean("zz", ["cluster"]), "")


class SpotTests(SynchronousTestCase):
    """The tree of places."""

    def setUp(self) -> None:
        self.root = Spot(Place("f", 1, 1))
        clusters = self.root.child("clusters", Place("f", 2, 3))
        clusters.child(0, Place("f", 3, 5)).child("name", Place("f", 3, 11), Place("f", 3, 5, True))

    def test_locate(self) -> None:
        """A path is followed as far as the file goes."""
        spot, rest = locate(self.root, ("clusters", 0, "type", "x"))
        self.assertEqual((spot.place.line, rest), (3, ("type", "x")))
        self.assertEqual(spot.path(), ("clusters", 0))

    def test_merge(self) -> None:
        """Lists that are merged go on with the numbers of the first."""
        other = Spot(Place("g", 1, 1))
        other.child("clusters", Place("g", 9, 1)).child(0, Place("g", 10, 1))
        self.root.merge(other)
        spot, rest = locate(self.root, ("clusters", 1))
        self.assertEqual((spot.place.file, spot.path(), rest), ("g", ("clusters", 1), ()))

    def test_report(self) -> None:
        """An error of a field is at its value, or at its key if that is what is wrong."""
        report = Report()
        spot, _ = locate(self.root, ("clusters", 0, "name"))
        report.error(spot, "bad")
        report.error(spot, "bad", at_key=True)
        self.assertEqual(
            [str(each) for each in report.problems],
            ["f:3:11: clusters[0].name: bad", "f:3:5: clusters[0].name: bad"],
        )

    def test_label(self) -> None:
        """A part that has a name in the user's file is called by that."""
        report = Report({Place("f", 3, 5): "clusters.mongo"})
        spot, rest = locate(self.root, ("clusters", 0, "type"))
        self.assertEqual(report.at(spot, "bad", *rest).path, "clusters.mongo.type")
