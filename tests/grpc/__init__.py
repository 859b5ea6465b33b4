"""Tests for meshd.grpc."""
