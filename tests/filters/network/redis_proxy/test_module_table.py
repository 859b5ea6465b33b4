"""Tests for meshd.filters.network.redis_proxy.module_table."""

from twisted.trial.unittest import SynchronousTestCase

from meshd.filters.network.redis_proxy.commands import find

#: Commands as the documentation of the modules has them, each with the places of its keys.
CASES = {
    "JSON.SET k $ 1": [1],
    "JSON.MGET a b c $": [1, 2, 3],
    "JSON.MSET a $ 1 b $ 2": [1, 4],
    "JSON.DEBUG MEMORY k": [2],
    "FT.CREATE idx ON HASH PREFIX 1 p: SCHEMA t TEXT": [1],
    "FT.SEARCH idx hello": [1],
    "FT.CURSOR READ idx 7": [2],
    "FT.ALIASADD alias idx": [1, 2],
    "FT.DICTADD d a b": [],
    "FT.SUGADD k hello 1": [1],
    "FT._LIST": [],
    "BF.ADD k x": [1],
    "CF.EXISTS k x": [1],
    "CMS.MERGE d 2 a b WEIGHTS 1 2": [1, 3, 4],
    "TOPK.ADD k x": [1],
    "TDIGEST.MERGE d 2 a b COMPRESSION 100": [1, 3, 4],
    "TS.MADD a 1 1 b 2 2": [1, 4],
    "TS.CREATERULE a b AGGREGATION avg 1000": [1, 2],
    "TS.MGET FILTER a=b": [],
    "VADD k VALUES 2 0.1 0.2 e": [1],
}


class ModuleTests(SynchronousTestCase):
    """The commands of the modules that people run."""

    def test_keys(self) -> None:
        """Their keys are where the documentation says."""
        for text, places in CASES.items():
            args = text.encode().split()
            command = find(args[0])
            assert command is not None, text
            self.assertEqual(command.keys(args), places, text)

    def test_kinds(self) -> None:
        """What goes by one key goes to its server; what reads them all goes to all."""
        kinds = {
            "JSON.GET": "single",
            "JSON.MSET": "multi",
            "TS.MRANGE": "all",
            "FT._LIST": "all",
            "FT.DICTADD": "all",
        }
        for name, kind in kinds.items():
            command = find(name.encode())
            assert command is not None
            self.assertEqual(command.kind, kind, name)
