"""Tests for meshd.filters.network.mongo_proxy.text; that it is Envoy's form, tests/interop sees."""

from __future__ import annotations

import json
from typing import Any

import bson
import pytest
from hypothesis import given

from meshd.codec.mongo import legacy
from meshd.filters.network.mongo_proxy import text
from tests.codec.mongo.messages import LEGACY
from tests.codec.test_bson import DOCUMENTS, EVERY_TYPE, chain


class TestText:
    """Documents and messages as text."""

    @given(DOCUMENTS)
    def test_is_json(self, document: dict[str, Any]) -> None:
        """Whatever is in a document, its text is JSON, redacted or not."""
        wire = bson.encode(document)
        assert list(json.loads(text.document(wire))) == list(document)
        assert list(json.loads(text.document(wire, redact=True))) == list(document)

    def test_every_type(self) -> None:
        """Every type has a text."""
        found = json.loads(text.document(bson.encode(EVERY_TYPE)))
        assert found["double"] == 1.5
        assert found["array"] == {"0": 1, "1": 2}
        assert found["regex"] == ["^a", "i"]
        assert found["id"] == str(EVERY_TYPE["id"])
        assert found["null"] is None
        assert json.loads(text.document(bson.encode({"x": float("inf")}))) == {"x": "inf"}

    def test_redacted(self) -> None:
        """Of a redacted document names and operators stay, no value; alike elements are one."""
        query = {
            "_id": {"$in": [1, 2, 3]},
            "$or": [{"a": 1}, {"b": "secret"}, {"a": 9}],
            "e": [],
            "s": "secret",
        }
        found = text.document(bson.encode(query), redact=True)
        assert json.loads(found) == {
            "_id": {"$in": ["?"]},
            "$or": [{"a": "?"}, {"b": "?"}],
            "e": [],
            "s": "?",
        }

    def test_many_shapes(self) -> None:
        """Of an array of many different elements the first are written."""
        wire = bson.encode({"a": [{f"n{number}": 1} for number in range(100)]})
        assert len(json.loads(text.document(wire, redact=True))["a"]) == text.SHAPES

    def test_deep(self) -> None:
        """What lies very deep is not written."""
        assert text.document(chain(500)).count('{"a": ') == text.LEVELS
        assert '"..."' in text.document(chain(500), redact=True)

    @pytest.mark.parametrize("message", LEGACY)
    def test_messages(self, message: legacy.Legacy) -> None:
        """Each message has a text that is JSON."""
        assert json.loads(text.message(message))["id"] == message.id
