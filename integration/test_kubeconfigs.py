"""What a kubeconfig says is so on both ways to the API server, requests and the port-forward, and stays so.

A second person with the same rights shows what was renewed: the first one loses them during the session.
"""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from integration.probe.manifests import BASE_IMAGE, RESTRICTED, Workload, probe_config_map
from integration.probe.swapping import swapped
from integration.probe.town import settle
from integration.support.aftermath import Before, assert_restored, remember
from integration.support.cluster import Cluster, KubectlFailed
from integration.support.namespaces import Namespace, write_kubeconfig
from integration.support.people import RBAC, Person, person_with_certificate, person_with_token
from integration.support.plain_user import PlainUser
from integration.support.product import Product
from integration.support.second_server import second_server
from integration.support.terminal import INTERRUPT, Terminal
from integration.support.waiting import wait_until
from tests.fakes.certificates import Authority, new_authority
from tests.fakes.way_between import LOGIN, connect_proxy, relay, socks_proxy

MakeProduct = Callable[..., Product]
LISTED = "Sidecar pods in namespace"
UNPACK = "mkdir /tmp/packages && tar -x -C /tmp/packages"
STANDING = ("sh", "-c", "read line; exit 0")
"""A child that ends when its stdin does."""


@pytest.fixture(scope="module")
def place(namespaces: Callable[..., Namespace]) -> Namespace:
    namespace = namespaces("kubeconfigs")
    worker = Workload("worker", listen=(), ports=(), service=False)
    settle(namespace, probe_config_map(), worker.deployment())
    return namespace


@pytest.fixture(scope="module")
def deployed(place: Namespace) -> Before:
    return remember(place, "worker")


@pytest.fixture
def worker(deployed: Before) -> Iterator[Before]:
    yield deployed
    assert_restored(deployed)


@pytest.fixture(scope="module")
def server(cluster: Cluster) -> tuple[str, int]:
    """Host and port of the API server, which must be an IPv4 address or a name here."""
    url = urlsplit(cluster.address()["server"])
    assert url.hostname is not None
    return url.hostname, url.port or 443


@pytest.fixture(scope="module")
def certified(cluster: Cluster) -> Iterator[str]:
    """URL of an API server that takes client certificates."""
    with second_server(cluster) as url:
        yield url


@pytest.fixture(scope="module")
def jane(place: Namespace) -> Person:
    return person_with_certificate(place, "jane")


@pytest.fixture(scope="module")
def joe(place: Namespace) -> Person:
    return person_with_token(place, "joe")


def put(product: Product, name: str, text: str) -> Path:
    """A file of the plain user's, written whole."""
    path = product.directory / name
    path.touch(mode=0o600)
    path.write_text(text)
    return product.user.give(path)


def plugin(product: Product, status: dict[str, Any], seconds: float = 0, **entry: Any) -> dict[str, Any]:
    """The `exec` entry of integration/probe/plugin.py."""
    put(product, "credential.json", json.dumps(status))
    put(product, "seconds", str(seconds))
    put(product, "runs", "")
    return {
        "apiVersion": "client.authentication.k8s.io/v1",
        "interactiveMode": "IfAvailable",
        "command": product.python,
        "args": [product.source("integration/probe/plugin.py"), str(product.directory)],
        **entry,
    }


def runs(product: Product) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (product.directory / "runs").read_text().splitlines()]


def wait_expired(product: Product) -> None:
    """Until what the plugin gave last is of no use any more."""
    until = (product.directory / "runs").stat().st_mtime + float((product.directory / "seconds").read_text())
    wait_until(lambda: time.time() > until + 0.5, 30, "the plugin's credential expires")


def use(product: Product, kubeconfig: dict[str, Any]) -> None:
    write_kubeconfig(product.kubeconfig, kubeconfig)


def list_works(product: Product, *arguments: str, **environment: str) -> None:
    ended = product.run("list", *arguments, environment=environment)
    assert ended.code == 0, ended.err
    assert LISTED in ended.out
    assert ended.err == ""


def list_fails(product: Product, code: int, *words: str) -> None:
    ended = product.run("list")
    assert ended.code == code, ended.err
    assert "Traceback" not in ended.err
    for word in words:
        assert word in ended.err.splitlines()[-1]


def swap_works(product: Product) -> None:
    with swapped(product, "worker", child=STANDING) as swap:
        assert swap.end() == 0


def certificate_of(person: Person) -> dict[str, Any]:
    return {"clientCertificateData": person.certificate, "clientKeyData": person.key}


@pytest.mark.own_cluster
def test_a_client_certificate_in_files_beside_the_kubeconfig(
    products: MakeProduct, place: Namespace, worker: Before, jane: Person, certified: str
) -> None:
    """The files are exchanged for another person's, as a renewed certificate's are."""
    first = person_with_certificate(place, "early")
    entry = {"client-certificate": "c.pem", "client-key": "k.pem"}
    product = products(kubeconfig=first.kubeconfig(entry, server=certified))
    list_fails(product, 69, "c.pem")
    put(product, "c.pem", first.certificate)
    put(product, "k.pem", first.key)
    list_works(product)
    with swapped(product, "worker", child=STANDING) as swap:
        put(product, "k.pem", jane.key)
        put(product, "c.pem", jane.certificate)
        first.lose_rights()
        assert swap.end() == 0


def test_a_plugins_token_is_renewed_when_it_expires(
    products: MakeProduct, place: Namespace, worker: Before, joe: Person
) -> None:
    first = person_with_token(place, "fleeting")
    product = products(kubeconfig=first.kubeconfig({}))
    entry = plugin(product, {"token": first.token}, 4, provideClusterInfo=True)
    use(product, first.kubeconfig({"exec": entry}))
    list_works(product)
    (told,) = runs(product)
    assert told["interactive"] is told["stdin"] is False
    assert told["cluster"]["server"] == place.cluster.address()["server"]
    assert told["cluster"]["certificate-authority-data"]
    with swapped(product, "worker", child=STANDING) as swap:
        put(product, "credential.json", json.dumps({"token": joe.token}))
        first.lose_rights()
        wait_expired(product)
        assert swap.end() == 0
    assert len(runs(product)) > 2
    for said in (product.directory / "run").rglob("*.log"):
        assert first.token not in said.read_text()


@pytest.mark.own_cluster
def test_a_plugins_certificate_is_renewed_when_it_expires(
    products: MakeProduct, place: Namespace, worker: Before, jane: Person, certified: str
) -> None:
    first = person_with_certificate(place, "brief")
    product = products(kubeconfig=first.kubeconfig({}))
    beta = {"apiVersion": "client.authentication.k8s.io/v1beta1", "interactiveMode": None}
    entry = plugin(product, certificate_of(first), 3, **beta)
    use(product, first.kubeconfig({"exec": entry}, server=certified))
    list_works(product)
    with swapped(product, "worker", child=STANDING) as swap:
        put(product, "credential.json", json.dumps(certificate_of(jane)))
        first.lose_rights()
        wait_expired(product)
        assert swap.end() == 0
    assert len(runs(product)) > 2


def test_a_plugin_asks_on_the_terminal_before_the_child_has_it_and_after(
    products: MakeProduct, place: Namespace, worker: Before, joe: Person
) -> None:
    product = products(kubeconfig=joe.kubeconfig({}))
    # long enough from the command's start to its being in place, where nobody can be asked
    entry = plugin(product, {"token": joe.token}, 10, interactiveMode="Always")
    entry["args"].append("prompt")
    use(product, joe.kubeconfig({"exec": entry}))
    list_fails(product, 69, "asks on a terminal")

    terminal = product.terminal("swap", "worker", "--", "sh", "-c", 'read line; echo "said $line"')
    answer_prompts(terminal, until="In place")
    position = len(terminal.screen)
    wait_expired(product)
    terminal.type("hello\n")
    terminal.wait_screen(r"said hello", after=position)
    answer_prompts(terminal, until="Restored", after=position)
    assert terminal.wait() == 0, terminal.screen
    assert "open sesame" not in terminal.screen, "the terminal does not show what is typed"
    assert all(run["interactive"] and run["stdin"] for run in runs(product)[1:])


def answer_prompts(terminal: Terminal, until: str, after: int = 0) -> None:
    """Type the password whenever it is asked for; at least once."""
    asked = False
    while (seen := terminal.wait_screen(rf"Password of the test: |{until}", 60, after)).group() != until:
        terminal.type("open sesame\n")
        asked, after = True, seen.end()
    assert asked


def test_an_interrupt_at_a_plugins_prompt_ends_all(
    products: MakeProduct, place: Namespace, worker: Before, joe: Person
) -> None:
    product = products(kubeconfig=joe.kubeconfig({}))
    entry = plugin(product, {"token": joe.token})
    entry["args"].append("prompt")
    use(product, joe.kubeconfig({"exec": entry}))
    shell = product.shell()
    for command in ("swap worker -- true", "list"):
        position = len(shell.screen)
        shell.type(f"telepresence-py {command}\n")
        asked = shell.wait_screen("Password of the test: ", after=position)
        shell.type(INTERRUPT)
        shell.wait_screen(r"\$ $", after=asked.end())
        shell.type("echo code $?; stty -a\n")
        assert shell.wait_screen(r"code (\d+)", after=position).group(1) == "130"
        assert shell.wait_screen(r"\s(-?echo)\b", after=position).group(1) == "echo"
    shell.type("exit\n")
    shell.wait()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"command": "no-such-plugin", "installHint": "Get it from\nthe shop"}, ["Get it from the shop"]),
        ({"command": "false", "args": []}, ["false", "exit code 1"]),
        ({"command": "echo", "args": ["s3cret"]}, ["echo", "something else"]),
        ({"command": "sh", "args": ["-c", "kill -9 $$"]}, ["signal 9"]),
        ({"seconds": -60}, ["expired"]),
    ],
)
def test_a_plugin_that_gives_nothing_good_is_told_in_one_sentence(
    products: MakeProduct, joe: Person, change: dict[str, Any], words: list[str]
) -> None:
    product = products(kubeconfig=joe.kubeconfig({}))
    seconds = change.pop("seconds", 0)
    entry = {**plugin(product, {"token": "no-such-token"}, seconds), **change}
    use(product, joe.kubeconfig({"exec": entry}))
    list_fails(product, 69, *words)
    ended = product.run("swap", "worker", "--", "true")
    assert ended.code == 69
    assert "s3cret" not in ended.err + ended.out


def test_what_a_plugin_says_is_shown(products: MakeProduct, joe: Person) -> None:
    product = products(kubeconfig=joe.kubeconfig({}))
    entry = {**plugin(product, {}), "command": "sh", "args": ["-c", "echo see the portal >&2; exit 3"]}
    use(product, joe.kubeconfig({"exec": entry}))
    for command in (["list"], ["swap", "worker", "--", "true"]):
        assert "see the portal" in product.run(*command).err


def test_a_token_file_that_is_rotated_during_a_session(
    products: MakeProduct, place: Namespace, worker: Before, joe: Person
) -> None:
    bound = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bond"}}
    place.apply(bound)
    to_secret = ("--bound-object-kind", "Secret", "--bound-object-name", "bond")
    token = place.kubectl("create", "token", "joe", *to_secret).strip()
    product = products(kubeconfig=joe.kubeconfig({"tokenFile": "token"}))
    put(product, "token", token + "\n")
    list_works(product)
    with swapped(product, "worker", child=STANDING) as swap:
        place.kubectl("delete", "secret", "bond")  # which revokes the token
        wait_until(lambda: not accepted(place, token), 30, "the old token is refused", every=1)
        put(product, "token", joe.token)
        assert swap.end() == 0
    put(product, "token", token)
    list_fails(product, 69, "log in again")


def accepted(place: Namespace, token: str) -> bool:
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    answer = place.cluster.kubectl("create", "-o", "json", "-f", "-", stdin=json.dumps(review))
    return bool(json.loads(answer)["status"].get("authenticated"))


@pytest.mark.parametrize("kind", ["http", "https", "socks5"])
def test_all_goes_through_the_kubeconfigs_proxy(
    products: MakeProduct, worker: Before, joe: Person, server: tuple[str, int], tmp_path: Path, kind: str
) -> None:
    """The name of the API server is one that only the proxy knows."""
    authority = new_authority()
    tls = authority.server(tmp_path, "127.0.0.1") if kind == "https" else None
    with socks_proxy(server) if kind == "socks5" else connect_proxy(server, tls) as proxy:
        url = f"{kind}://{LOGIN[0]}:pass%3Aw%40rd@127.0.0.1:{proxy.port}"
        way = {"server": "https://behind.invalid:6443", "tls-server-name": "kubernetes", "proxy-url": url}
        if kind == "https":
            way |= {"certificate-authority-data": both_authorities(joe, authority)}
        product = products(kubeconfig=joe.kubeconfig({"token": joe.token}, **way))
        list_works(product)
        requests = len(proxy.wanted)
        swap_works(product)
        assert set(proxy.wanted) == {"behind.invalid:6443"}
        assert len(proxy.wanted) > requests + 1, "requests, and the port-forward"


def both_authorities(person: Person, other: Authority) -> str:
    own = base64.b64decode(person.namespace.cluster.address()["certificate-authority-data"])
    return base64.b64encode(own + other.pem).decode()


def test_the_environments_proxy_is_used_unless_it_exempts_the_server(
    products: MakeProduct, joe: Person, server: tuple[str, int]
) -> None:
    product = products(kubeconfig=joe.kubeconfig({"token": joe.token}))
    with connect_proxy(server) as proxy:
        url = f"http://{LOGIN[0]}:pass%3Aw%40rd@127.0.0.1:{proxy.port}"
        list_works(product, HTTPS_PROXY=url, NO_PROXY=f"elsewhere,{server[0]}")
        assert proxy.wanted == []
        list_works(product, HTTPS_PROXY=url)
        assert set(proxy.wanted) == {f"{server[0]}:{server[1]}"}


def test_a_proxy_that_refuses_us_is_told_without_its_password(products: MakeProduct, joe: Person) -> None:
    with connect_proxy(("127.0.0.1", 9)) as proxy:
        way = {"proxy-url": f"http://me:s3cret@127.0.0.1:{proxy.port}"}
        product = products(kubeconfig=joe.kubeconfig({"token": joe.token}, **way))
        list_fails(product, 69, "407", f"through the proxy 127.0.0.1:{proxy.port}")
        assert "s3cret" not in product.run("list").err


def test_an_address_that_is_not_in_the_certificate(
    products: MakeProduct, worker: Before, joe: Person, server: tuple[str, int]
) -> None:
    """First with the name that is, then without any verification."""
    with relay(server, "127.0.0.2") as between:
        way: dict[str, Any] = {"server": f"https://127.0.0.2:{between.port}"}
        product = products(kubeconfig=joe.kubeconfig({"token": joe.token}, **way))
        list_fails(product, 69, "certificate is not trusted")
        use(product, joe.kubeconfig({"token": joe.token}, **way, **{"tls-server-name": "kubernetes"}))
        list_works(product)
        way |= {"insecure-skip-tls-verify": True}
        use(product, joe.kubeconfig({"token": joe.token}, **way))
        list_fails(product, 78, "insecure-skip-tls-verify", "certificate authority")
        use(product, joe.kubeconfig({"token": joe.token}, **way, **{"certificate-authority-data": None}))
        list_works(product)
        swap_works(product)


def test_an_authority_that_did_not_certify_the_server(products: MakeProduct, joe: Person) -> None:
    product = products(kubeconfig=joe.kubeconfig({}))
    put(product, "ca.pem", new_authority().pem.decode())
    wrong = {"certificate-authority-data": None, "certificate-authority": "ca.pem"}
    use(product, joe.kubeconfig({"token": joe.token}, **wrong))
    list_fails(product, 69, "certificate is not trusted")


def test_several_files_make_one_kubeconfig(products: MakeProduct, joe: Person) -> None:
    whole = joe.kubeconfig({"token": joe.token})
    product = products(kubeconfig=whole)
    for part in ("clusters", "users", "contexts"):
        put(product, part, json.dumps({part: whole[part]}))
    other = {**whole, "current-context": "other", "users": [{"name": "joe", "user": {"token": "wrong"}}]}
    put(product, "last", json.dumps(other))
    current = put(product, "current", json.dumps({"current-context": "tests"}))
    names = ("nowhere", current.name, "users", "clusters", "contexts", "last")
    list_works(product, KUBECONFIG=":".join(str(product.directory / name) for name in names))


def test_acting_as_another_user(
    products: MakeProduct, cluster: Cluster, place: Namespace, worker: Before, joe: Person
) -> None:
    """Whoever acts has no right but that."""
    name = f"{place.name}-actors"
    impersonate = {"apiGroups": [""], "verbs": ["impersonate"]}
    rules = [
        {**impersonate, "resources": ["users"], "resourceNames": ["dévi"]},
        {**impersonate, "resources": ["groups"], "resourceNames": ["the makers"]},
    ]
    rbac, named = {"apiVersion": f"{RBAC}/v1"}, {"metadata": {"name": name}}
    role = {**rbac, "kind": "ClusterRole", **named, "rules": rules}
    actor = {"kind": "ServiceAccount", "name": "actor", "namespace": place.name}
    may_act: dict[str, Any] = {**rbac, "kind": "ClusterRoleBinding", **named}
    may_act |= {"roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": name}, "subjects": [actor]}
    makers = {"kind": "Group", "apiGroup": RBAC, "name": "the makers"}
    may_edit: dict[str, Any] = {**rbac, "kind": "RoleBinding", "metadata": {"name": "makers"}}
    may_edit |= {"roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "edit"}, "subjects": [makers]}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "actor"}}
    try:
        place.apply(account, role, may_act, may_edit)
        token = place.kubectl("create", "token", "actor").strip()
        product = products(kubeconfig=Person(place, "actor").kubeconfig({"token": token}))
        list_fails(product, 77, "may not list pods")
        list_works(product, "--as", "dévi", "--as-group", "the makers")
        refused = product.run("list", "--as", "dévi", "--as-group", "system:masters")
        assert (refused.code, "act as the group system:masters" in refused.err) == (77, True)
        entry = {"token": token, "as": "dévi", "as-groups": ["the makers"]}
        use(product, Person(place, "actor").kubeconfig(entry))
        list_works(product)
        swap_works(product)
    finally:
        for kind in ("clusterrolebinding", "clusterrole"):
            cluster.kubectl("delete", kind, name, "--ignore-not-found")


def test_what_providers_left_behind_says_what_to_do(products: MakeProduct, joe: Person) -> None:
    product = products(kubeconfig=joe.kubeconfig({"auth-provider": {"name": "gcp"}}))
    list_fails(product, 78, "gke-gcloud-auth-plugin")
    # a service account's token is a JSON Web Token with an expiry, as an OpenID Connect provider's is
    oidc = {"auth-provider": {"name": "oidc", "config": {"id-token": joe.token}}}
    use(product, joe.kubeconfig(oidc))
    list_works(product)


def test_in_a_pod_without_kubeconfig_its_service_account_is_used(place: Namespace, user: PlainUser) -> None:
    """The product and what it needs are copied into the pod, whose Python has the same version."""
    account = person_with_token(place, "in-pod").name
    container = {
        "name": "main",
        "image": BASE_IMAGE,
        "command": ["python3", "-c", "import signal; signal.sigwait([signal.SIGTERM])"],
        "securityContext": RESTRICTED,
    }
    spec = {"containers": [container], "serviceAccountName": account, "terminationGracePeriodSeconds": 1}
    place.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "inside"}, "spec": spec})
    place.kubectl("wait", "--for=condition=Ready", "pod/inside", "--timeout=60s", seconds=70)
    packages = next((user.venv / "lib").glob("python3*")) / "site-packages"
    unused = [f"--exclude=./{name}" for name in ("pip", "setuptools", "kubernetes/client/models")]
    theirs = ["tar", "-c", *unused, "-C", str(packages), "."]
    ours = [
        "-C",
        str(user.sources),
        "telepresence_py",
        "-C",
        f"{user.sources}/sidecar",
        "telepresence_sidecar",
    ]
    into = place.cluster.kubectl_command("-n", place.name, "exec", "-i", "inside", "--", "sh", "-c", UNPACK)
    with subprocess.Popen([*theirs, *ours], stdout=subprocess.PIPE) as packing:
        subprocess.run(into, stdin=packing.stdout, check=True, timeout=120)
    product = ("env", "PYTHONPATH=/tmp/packages", "HOME=/tmp", "python3", "-m", "telepresence_py")
    assert f"{LISTED} {place.name}: none" in place.in_pod("inside", *product, "list")
    for words, expected in (
        (["list", "--as", "dévi"], "may not act as the user dévi"),
        (["list", "--context", "dev"], 'no context "dev"'),
        (["list", "-n", "kube-system"], 'context "in-cluster"'),
    ):
        with pytest.raises(KubectlFailed, match=expected):
            place.in_pod("inside", *product, *words)
