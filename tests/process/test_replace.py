"""Tests for meshd.process.replace."""

from __future__ import annotations

from meshd.options import Options
from meshd.process.replace import prepare
from tests.process.serving import ServingCase, bootstrap
from tests.xds.running import answer, chain, listener


class ReplaceTests(ServingCase):
    """A new config in the place of the one that runs."""

    def options(self, text: str) -> Options:
        """Return options for a config whose listener answers with the text."""
        one = listener(filter_chains=[chain(answer(text))], name="front")
        return Options(config_path=self.file(bootstrap(one)))

    def test_replaced(self) -> None:
        """The new listeners take the place of the old; connections that there are go on."""
        service = self.started(bootstrap(listener(name="front")))
        server = service.server
        client = self.client(service)
        old = server.listeners["front"]
        new = prepare(server, self.options("new"))
        self.assertIs(server.listeners["front"], old)
        socks = old.give_up_sockets()
        new.commit()
        now = server.listeners["front"]
        now.adopt(socks)
        now.start()
        client.sendall(b"hello")
        self.turn()
        self.assertEqual(client.recv(10), b"hello")
        self.assertEqual(self.client(service).recv(10), b"new")
        self.assertEqual(set(server.all_listeners()), {old, now})
        self.stop(service)

    def test_wrong(self) -> None:
        """A config that is wrong changes nothing."""
        service = self.started(bootstrap(listener(name="front")))
        wrong = Options(
            config_path=self.file(bootstrap(listener(filter_chains=[chain({"name": "nonsense"})], name="x")))
        )
        self.assertTrue(self.problems(prepare, service.server, wrong))
        self.assertIn("front", service.server.listeners)
        self.stop(service)

    def test_forgotten(self) -> None:
        """What was replaced is forgotten once it has no connections."""
        service = self.started(bootstrap(listener(name="front")))
        server = service.server
        for text in ("a", "b"):
            prepare(server, self.options(text)).commit()
        self.assertEqual(len(server.all_listeners()), 1)
        self.stop(service)
