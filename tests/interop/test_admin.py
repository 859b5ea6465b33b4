"""The admin page against Envoy: statuses, content types, texts, and the shapes of JSON."""

import re
from typing import Any

from tests.interop.case import Case
from tests.interop.oracle import Answer, Proxy
from tests.interop.yaml_parts import Part, bootstrap, cluster, listener, network, relay, tcp_proxy

READ_ONLY = {
    "/": "a page of its own",
    "/help": "other commands",
    "/ready": "",
    "/server_info": "shape only",
    "/stats": "names tested apart",
    "/stats?filter=listener.front": "",
    "/stats?filter=^cluster[.]c[.]upstream_cx&usedonly": "",
    "/stats?filter=^listener.front&type=Gauges": "",
    "/stats?filter=^listener.front&type=Counters&format=json": "",
    "/stats?filter=^tcp.t.&format=json": "",
    "/stats?format=bad": "",
    "/stats?type=bad": "",
    "/clusters": "",
    "/clusters?format=json": "",
    "/clusters?filter=nothing": "",
    "/listeners": "",
    "/listeners?format=json": "",
    "/certs": "",
    "/memory": "shape only",
    "/runtime": "the order of keys is chance in Envoy",
    "/config_dump": "shape only",
    "/config_dump?resource=static_listeners": "shape only",
    "/config_dump?resource=static_clusters": "shape only",
    "/config_dump?resource=nope": "",
    "/nope": "other commands",
}
"""Pages that GET reads; where the text need not agree, why."""

POST_ONLY = (
    "/logging",
    "/reset_counters",
    "/reopen_logs",
    "/healthcheck/ok",
    "/healthcheck/fail",
    "/quitquitquit",
    "/drain_listeners",
    "/runtime_modify",
)


OWN_NUMBERS = ("downstream_accept_paused", "downstream_filter_exception")
"""Counters that only meshd has: a row of docs/differences.rst."""


def masked(answer: Answer, proxy: Proxy) -> str:
    """Return an answer's text without what is chance: ports, and what is meshd's own."""
    where = proxy.address()
    text = answer.text.replace(str(where[1]), "<front>")
    text = re.sub(rf'{{"name":"[^"]*({"|".join(OWN_NUMBERS)})[^}}]*}},?', "", text)
    text = "\n".join(line for line in text.splitlines() if not any(name in line for name in OWN_NUMBERS))
    return re.sub(r'"port_value": \d+|127\.0\.0\.1:\d+', "<port>", text)


def shape(value: Any) -> Any:
    """Return the keys and types of JSON, of lists the first element's."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in sorted(value.items())}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def start(case: Case, ports: list[int]) -> Proxy:
    """Start a proxy with one relay and no traffic."""
    return case.start(bootstrap(listener(tcp_proxy()), clusters=[cluster(case.backend(port=ports[0]))]))


def tell(case: Case, page: str, answer: Answer, *more: Any) -> None:
    """Note what must agree of any answer: status, type, and more."""
    case.note(**{page: (answer.status, answer.headers["content-type"].lower(), *more)})


def test_get(case: Case, ports: list[int]) -> None:
    """Pages that only read answer GET as Envoy does."""
    proxy = start(case, ports)
    case.lines = 0
    for page, why in READ_ONLY.items():
        answer = proxy.get(page)
        tell(case, page, answer)
        if not why:
            case.note(**{f"text of {page}": masked(answer, proxy)})


def test_post_only(case: Case, ports: list[int]) -> None:
    """A page that changes something refuses GET."""
    proxy = start(case, ports)
    case.lines = 0
    for page in POST_ONLY:
        answer = proxy.get(page)
        assert answer.status == 405
        tell(case, page, answer, answer.text)


POSTS = {
    "/reset_counters": "",
    "/reopen_logs": "",
    "/healthcheck/fail": "",
    "/healthcheck/ok": "",
    "/runtime_modify": "",
    "/runtime_modify?a=b": "",
    "/drain_listeners?skip_exit&graceful": "",
    "/logging": "other loggers",
    "/logging?level=info": "other loggers",
    "/logging?level=bad": "other loggers",
    "/logging?nope=debug": "other loggers",
    "/nope": "other commands",
    "/ready": "",
}


def test_post(case: Case, ports: list[int]) -> None:
    """POST answers as Envoy's; what it did shows at /ready."""
    proxy = start(case, ports)
    case.lines = 0
    for page, why in POSTS.items():
        answer = proxy.post(page)
        ready = proxy.get("/ready")
        text = answer.text.split()[:1] if why else answer.text
        tell(case, page, answer, ready.status, ready.text, text)


SHAPES = ("/server_info", "/memory", "/certs", "/runtime", "/clusters?format=json", "/listeners?format=json")


def test_shape(case: Case, ports: list[int]) -> None:
    """JSON has the same keys and types at its top."""
    proxy = start(case, ports)
    case.lines = 0
    for page in SHAPES:
        case.note(**{page: {name: type(value).__name__ for name, value in proxy.get(page).json.items()}})


def test_config_dump(case: Case, ports: list[int]) -> None:
    """The dump holds the bootstrap, the clusters and the listeners, each as Envoy wraps them."""
    proxy = start(case, ports)
    case.lines = 0
    parts = {part["@type"].rpartition(".")[2]: part for part in proxy.get("/config_dump").json["configs"]}
    assert {"BootstrapConfigDump", "ClustersConfigDump", "ListenersConfigDump"} <= set(parts)
    wrapped = parts["ListenersConfigDump"]["static_listeners"][0]
    assert wrapped["listener"]["name"] == "front"
    case.note(listener=shape(wrapped), cluster=shape(parts["ClustersConfigDump"]["static_clusters"][0]))


def test_runtime(case: Case) -> None:
    """Layers and entries of the runtime, before and after a change."""
    layers = [
        {"name": "static", "static_layer": {"a": 1, "b": {"c": True}, "text": "x"}},
        {"name": "admin", "admin_layer": {}},
    ]
    proxy = case.start(bootstrap(listener(network("echo", "Echo")), layered_runtime={"layers": layers}))
    case.lines = 0
    before = proxy.get("/runtime").json
    changed = proxy.post("/runtime_modify?a=2&new=3")
    case.note(before=before, changed=(changed.status, changed.text), after=proxy.get("/runtime").json)
    proxy.post("/runtime_modify?a=")
    case.note(removed=proxy.get("/runtime").json)


def test_quit(case: Case, ports: list[int]) -> None:
    """POST /quitquitquit answers OK and ends the process with status 0."""
    proxy = start(case, ports)
    assert proxy.post("/quitquitquit").text == "OK\n"
    assert proxy.wait() == 0
    case.proxies.clear()


def test_drain(case: Case, ports: list[int]) -> None:
    """POST /drain_listeners closes the listening sockets; connections live on and the state stays LIVE."""
    proxy = start(case, ports)
    case.lines = 0
    client = case.client()
    client.send(b"a")
    assert client.read(1) == b"a"
    address = proxy.address()
    assert proxy.post("/drain_listeners").text == "OK\n"
    proxy.await_refused(address)
    client.send(b"b")
    assert client.read(1) == b"b"
    listed = [status["name"] for status in proxy.get("/listeners?format=json").json["listener_statuses"]]
    case.note(ready=proxy.get("/ready").text, listed=listed)
    client.half_close()
    client.read_to_end()
    case.log()


def test_reset(case: Case) -> None:
    """POST /reset_counters puts counters to 0 and leaves gauges."""
    proxy = case.start(relay(case.backend()))
    case.converse()
    case.log()
    proxy.await_stat("listener.front.downstream_cx_active", 0)
    assert proxy.stat("tcp.t.downstream_cx_total") == 1
    proxy.post("/reset_counters")
    assert proxy.stat("tcp.t.downstream_cx_total") == 0
    assert proxy.stat("cluster.c.membership_total") == 1


def test_names(case: Case, ports: list[int]) -> None:
    """Every counter and gauge of tcp, listener and cluster that Envoy shows is there from the start."""
    proxy = start(case, ports)
    case.lines = 0
    names = proxy.stats("^(tcp[.]t|listener[.]front|cluster[.]c)[.]")
    case.note(names=[name for name in sorted(names) if not name.endswith(OWN_NUMBERS)])


def test_prometheus(case: Case) -> None:
    """Metric names and labels are Envoy's; only # HELP lines are meshd's own."""
    proxy = case.start(relay(case.backend()))
    case.converse()
    case.log()
    proxy.await_stat("listener.front.downstream_cx_active", 0)
    for scope in ("tcp[.]t", "listener[.]front", "cluster[.]c"):
        text = proxy.get(f"/stats/prometheus?filter=^{scope}[.].*(total|active)$").text
        case.note(**{scope: sorted(line for line in text.splitlines() if line and "# HELP" not in line)})


def test_clusters_after_traffic(case: Case, ports: list[int]) -> None:
    """/clusters counts connections and requests of each host."""
    proxy = start(case, ports)
    case.converse()
    case.log()
    proxy.await_stat("cluster.c.upstream_cx_active", 0)
    case.note(clusters=masked(proxy.get("/clusters"), proxy))


def test_whole_page(kind: str, tmp_path: Any) -> None:
    """The front page is HTML in both."""
    config: Part = bootstrap(listener(network("echo", "Echo")))
    proxy = Proxy(kind, config, tmp_path)
    try:
        answer = proxy.get("/")
        assert answer.status == 200
        assert answer.headers["content-type"].lower() == "text/html; charset=utf-8"
        assert "<a href" in answer.text.lower()
    finally:
        proxy.stop()


def test_server_numbers(case: Case, ports: list[int]) -> None:
    """The managers' and the server's own numbers after a start without traffic."""
    proxy = start(case, ports)
    case.lines = 0
    wanted = (
        "cluster_manager.active_clusters",
        "cluster_manager.cluster_added",
        "listener_manager.listener_added",
        "listener_manager.listener_create_success",
        "listener_manager.total_listeners_active",
        "listener_manager.total_listeners_warming",
        "listener_manager.workers_started",
        "server.concurrency",
        "server.live",
        "server.state",
    )
    case.note(numbers={name: proxy.stat(name) for name in wanted})
