"""Registers ``twistd meshd``."""

from twisted.application.service import ServiceMaker

meshd = ServiceMaker("meshd", "meshd.tap", "A service-mesh proxy, configured as Envoy is.", "meshd")
