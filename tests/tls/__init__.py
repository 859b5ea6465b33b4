"""Tests for meshd.tls."""
