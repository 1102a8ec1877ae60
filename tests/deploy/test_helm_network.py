"""Network policies: whom the pods of each Deployment reach, and who reaches them."""

import pytest

from lockstitch.tests.deploy.rendering import Object, Release, postgresql, release_of, render


def policy_of(release: Release, component: str) -> Object:
    [found] = [
        each["spec"]
        for each in release.of_kind("NetworkPolicy").values()
        if each["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == component
    ]
    spec: Object = found
    return spec


def ports_out(release: Release, component: str) -> set[int]:
    return {port["port"] for rule in policy_of(release, component)["egress"] for port in rule["ports"]}


@pytest.mark.parametrize("values_file", ["everything-on", "air-gapped", "temporal-cloud", "sqlite-with-code"])
def test_every_pod_is_under_one_policy_for_both_directions(values_file: str) -> None:
    release = release_of(values_file)
    policies = release.of_kind("NetworkPolicy").values()

    for pod in release.pods:
        labels = pod["metadata"]["labels"].items()
        [over] = [each for each in policies if each["spec"]["podSelector"]["matchLabels"].items() <= labels]
        assert over["spec"]["policyTypes"] == ["Ingress", "Egress"]


def test_without_being_asked_for_there_are_none() -> None:
    assert not render(postgresql()).of_kind("NetworkPolicy")


def test_each_process_reaches_what_it_works_with_and_nothing_else() -> None:
    release = release_of("everything-on")

    assert ports_out(release, "server") == {53, 7233, 5432, 443, 4318}  # 443: the embedder's endpoint
    assert ports_out(release, "worker") == {53, 7233, 5432, 443, 4318}
    assert ports_out(release, "vision") == {53, 7233, 5432, 4318}
    assert ports_out(release, "code") == {53, 7233, 5432, 2049}
    assert ports_out(release, "migrations") == {53, 5432, 4318}


def test_code_reaches_name_servers_temporal_and_the_database_even_where_nobody_else_is_confined() -> None:
    release = render(postgresql(codeWorkers={"enabled": True}))

    assert release.of_kind("NetworkPolicy").keys() == {"demo-lockstitch-code"}
    assert ports_out(release, "code") == {53, 7233, 5432}
    assert "ingress" not in policy_of(release, "code")


def test_code_may_be_led_to_a_store_of_payloads_or_left_without_a_policy() -> None:
    store = {"payloads": {"externalStorage": {"url": "s3://payloads/production"}}}
    way = {"to": [{"ipBlock": {"cidr": "198.51.100.0/24"}}], "ports": [{"port": 443, "protocol": "TCP"}]}
    led = render(postgresql(codeWorkers={"enabled": True, "networkPolicy": {"extraEgress": [way]}}) | store)
    free = render(postgresql(codeWorkers={"enabled": True, "networkPolicy": {"enabled": False}}) | store)

    assert way in policy_of(led, "code")["egress"]
    assert not free.of_kind("NetworkPolicy")


def test_documents_that_code_workers_read_may_be_embedded_by_an_endpoint() -> None:
    embedder = {"to": [{"ipBlock": {"cidr": "198.51.100.7/32"}}]}
    values = postgresql(
        codeWorkers={"enabled": True, "serves": ["code", "files"]}, networkPolicy={"models": {"to": embedder["to"]}}
    )
    embedding = render(values | {"embeddings": {"embedder": "endpoint"}})

    assert 443 not in ports_out(render(values), "code")
    assert embedder | {"ports": [{"port": 443, "protocol": "TCP"}]} in policy_of(embedding, "code")["egress"]


def test_only_clients_reach_the_api_and_only_prometheus_the_metrics() -> None:
    release = release_of("everything-on")
    server, worker = policy_of(release, "server")["ingress"], policy_of(release, "worker")["ingress"]

    assert [[port["port"] for port in rule["ports"]] for rule in server] == [["http"], ["http"]]
    assert [[port["port"] for port in rule["ports"]] for rule in worker] == [["metrics"]]
    monitoring = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    assert server[1]["from"] == worker[0]["from"] == [monitoring]
    assert {"podSelector": {}} in server[0]["from"]


def test_the_notes_say_who_may_read_metrics_wherever_there_is_a_policy() -> None:
    prometheus = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    code_alone = render(postgresql(codeWorkers={"enabled": True}))
    everybody = render({"networkPolicy": {"enabled": True}})
    told = render(postgresql(codeWorkers={"enabled": True}, networkPolicy={"metrics": {"from": [prometheus]}}))

    sentence = (
        "The pods of demo-lockstitch-code, and no others, are under a network policy; nobody may read their metrics"
    )
    assert f"{sentence} before networkPolicy.metrics.from says who." in code_alone.notes
    assert "nobody may read metrics before networkPolicy.metrics.from says who." in everybody.notes
    assert "their metrics are read as networkPolicy.metrics.from says." in told.notes
    assert policy_of(told, "code")["ingress"][0]["from"] == [prometheus]
    assert "under a network policy" not in render(postgresql()).notes


def test_without_a_way_out_of_the_cluster_every_way_leads_to_a_namespace_or_a_pod() -> None:
    release = release_of("air-gapped")
    ways = [rule for each in release.of_kind("NetworkPolicy").values() for rule in each["spec"]["egress"]]

    assert ways
    assert all(rule["to"] for rule in ways)
    assert all(peer.keys() <= {"namespaceSelector", "podSelector"} for rule in ways for peer in rule["to"])
    images = {each["image"].split("/")[0] for pod in release.pods for each in pod["spec"]["containers"]}
    assert images == {"registry.internal:5000"}


def test_the_port_of_temporal_is_that_of_its_address() -> None:
    release = render(postgresql(temporal={"address": "temporal:17233"}, networkPolicy={"enabled": True}))

    assert 17233 in ports_out(release, "worker")
    assert 7233 not in ports_out(release, "worker")
