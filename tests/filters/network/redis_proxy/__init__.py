"""Tests for meshd.filters.network.redis_proxy."""
