"""
What was observed on the real Envoy 1.40, to hold meshd to it.

A tcp_proxy with the hash policy source_ip was connected to from the addresses
127.0.0.2, 127.0.0.3, ..., once each, in this order; what is noted is which
backend each connection reached: n for the one at 127.0.0.1:2900n.  The clusters
are those below, as they were given to Envoy.
"""

from __future__ import annotations

from typing import Any

from tests.upstream.support import assignment, endpoint

PORTS = (29001, 29002, 29003, 29004, 29005)
WEIGHTS = (5, 1, 2, 9, 1)

EQUAL = assignment(PORTS)
UNEQUAL = assignment([endpoint(port, weight) for port, weight in zip(PORTS, WEIGHTS, strict=True)])
NAMED = assignment(
    [endpoint(port, weight, hostname=f"host{port}") for port, weight in zip(PORTS, WEIGHTS, strict=True)]
)
KEYED = assignment(
    [
        endpoint(port, metadata={"filter_metadata": {"envoy.lb": {"hash_key": f"key-{port}"}}})
        for port in PORTS
    ]
)


def extension(kind: str, **config: Any) -> dict[str, Any]:
    """Return a load_balancing_policy of one extension."""
    typed = {"@type": f"type.googleapis.com/envoy.extensions.load_balancing_policies.{kind}", **config}
    return {"policies": [{"typed_extension_config": {"name": kind, "typed_config": typed}}]}


#: Name: the cluster, who was reached, and the gauges of the ring or table.
HASHED: dict[str, tuple[dict[str, Any], str, dict[str, int]]] = {
    "ring": (
        {"lb_policy": "RING_HASH", "load_assignment": EQUAL},
        "4452351434524523332445242521335514555551",
        {
            "ring_hash_lb.max_hashes_per_host": 205,
            "ring_hash_lb.min_hashes_per_host": 205,
            "ring_hash_lb.size": 1025,
        },
    ),
    "ring_weights": (
        {"lb_policy": "RING_HASH", "load_assignment": UNEQUAL},
        "4143111434124431411441241541135514551241",
        {
            "ring_hash_lb.max_hashes_per_host": 513,
            "ring_hash_lb.min_hashes_per_host": 57,
            "ring_hash_lb.size": 1026,
        },
    ),
    "ring_small": (
        {
            "lb_policy": "RING_HASH",
            "load_assignment": UNEQUAL,
            "ring_hash_lb_config": {"minimum_ring_size": 7, "maximum_ring_size": 13},
        },
        "4144424444444434444244424341444334114441",
        {
            "ring_hash_lb.max_hashes_per_host": 7,
            "ring_hash_lb.min_hashes_per_host": 0,
            "ring_hash_lb.size": 13,
        },
    ),
    "ring_murmur": (
        {
            "lb_policy": "RING_HASH",
            "load_assignment": UNEQUAL,
            "ring_hash_lb_config": {"hash_function": "MURMUR_HASH_2"},
        },
        "4141433141113441244243344131154411341344",
        {
            "ring_hash_lb.max_hashes_per_host": 513,
            "ring_hash_lb.min_hashes_per_host": 57,
            "ring_hash_lb.size": 1026,
        },
    ),
    "ring_hostname": (
        {
            "type": "STRICT_DNS",
            "lb_policy": "RING_HASH",
            "load_assignment": NAMED,
            "common_lb_config": {"consistent_hashing_lb_config": {"use_hostname_for_hashing": True}},
        },
        "1414414244544331134442144441414444141114",
        {
            "ring_hash_lb.max_hashes_per_host": 513,
            "ring_hash_lb.min_hashes_per_host": 57,
            "ring_hash_lb.size": 1026,
        },
    ),
    "ring_key": (
        {"lb_policy": "RING_HASH", "load_assignment": KEYED},
        "3224251154341343255225432454525315222432",
        {
            "ring_hash_lb.max_hashes_per_host": 205,
            "ring_hash_lb.min_hashes_per_host": 205,
            "ring_hash_lb.size": 1025,
        },
    ),
    "ring_extension": (
        {
            "load_assignment": EQUAL,
            "load_balancing_policy": extension(
                "ring_hash.v3.RingHash", minimum_ring_size=50, hash_function="MURMUR_HASH_2"
            ),
        },
        "1133333415515235334354543231153255122322",
        {
            "ring_hash_lb.max_hashes_per_host": 10,
            "ring_hash_lb.min_hashes_per_host": 10,
            "ring_hash_lb.size": 50,
        },
    ),
    "maglev": (
        {"lb_policy": "MAGLEV", "load_assignment": EQUAL},
        "3544133242514515114421551414332513413243",
        {"maglev_lb.max_entries_per_host": 13108, "maglev_lb.min_entries_per_host": 13107},
    ),
    "maglev_weights": (
        {"lb_policy": "MAGLEV", "load_assignment": UNEQUAL},
        "4144131444314414114411451414332414413443",
        {"maglev_lb.max_entries_per_host": 32768, "maglev_lb.min_entries_per_host": 3641},
    ),
    "maglev_small": (
        {"lb_policy": "MAGLEV", "load_assignment": UNEQUAL, "maglev_lb_config": {"table_size": 101}},
        "4444131451444411411445414423113441445414",
        {"maglev_lb.max_entries_per_host": 49, "maglev_lb.min_entries_per_host": 6},
    ),
    "maglev_extension": (
        {
            "load_assignment": NAMED,
            "load_balancing_policy": extension(
                "maglev.v3.Maglev",
                table_size=1009,
                consistent_hashing_lb_config={"use_hostname_for_hashing": True},
            ),
        },
        "4441411412144441144441244444331411414344",
        {"maglev_lb.max_entries_per_host": 503, "maglev_lb.min_entries_per_host": 56},
    ),
}

UNHEALTHY, TIMEOUT, DRAINING, DEGRADED = "UNHEALTHY", "TIMEOUT", "DRAINING", "DEGRADED"


def with_status(port: int, health_status: str) -> dict[str, Any]:
    """Return an endpoint of that health."""
    return endpoint(port, health_status=health_status)


#: Name: the balancer, the priorities, who was reached (0: nobody), and how often it panicked.
PRIORITIES: dict[str, tuple[str, list[list[Any]], str, int]] = {
    "spill": (
        "RING_HASH",
        [[29001, with_status(29002, UNHEALTHY)], [29003, 29004]],
        "1141111111111111111311313111111111341111",
        0,
    ),
    "spill3": (
        "RING_HASH",
        [
            [29001, with_status(29002, UNHEALTHY), with_status(29005, UNHEALTHY)],
            [29003, with_status(29004, TIMEOUT)],
            [29005],
        ],
        "3133313311113111111311313331133311333131",
        0,
    ),
    "panic": (
        "RING_HASH",
        [[29001, with_status(29002, UNHEALTHY), with_status(29003, UNHEALTHY)]],
        "1112331133123321332232232221321213322221",
        40,
    ),
    "total_panic": (
        "MAGLEV",
        [[with_status(29001, UNHEALTHY)], [with_status(29002, UNHEALTHY), with_status(29003, UNHEALTHY)]],
        "3122313211113131112311213223332221233231",
        40,
    ),
    "degraded": (
        "RING_HASH",
        [[29001, with_status(29002, DEGRADED), with_status(29003, UNHEALTHY)]],
        "1111111111111111111111111111111111111111",
        0,
    ),
    "draining": (
        "RING_HASH",
        [[29001, with_status(29002, DRAINING), with_status(29003, DRAINING)]],
        "1111111111111111111111111111111111111111",
        0,
    ),
    "all_degraded": (
        "RING_HASH",
        [[with_status(29001, DEGRADED), with_status(29002, DEGRADED)]],
        "0000000000000000000000000000000000000000",
        0,
    ),
}

#: Forty connections of any client, with UNEQUAL: the order, which begins at a random place.
ROUND_ROBIN = "4142531441441434144142531441441434144142"
#: The same, but the connections were kept open.
LEAST_REQUEST = "4341412534141253414341254143142541341425"

#: Connections that were kept open, with a hash_balance_factor: 12 from 127.0.0.2, 14 from .3, 14 from .4.
BOUNDED: dict[str, tuple[str, dict[str, Any], int, str]] = {
    "ring": ("RING_HASH", UNEQUAL, 120, "4444244243441111111113313344444444444444"),
    "maglev": ("MAGLEV", EQUAL, 100, "3344234221345555531153111544414133541352"),
}
