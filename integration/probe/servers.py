"""Servers that others wrote, as Debian packages them: one pod whose containers have this machine's /usr.

So no image is built for them. The nodes have to be this machine's, as the project's own cluster's are.
"""

from __future__ import annotations

from integration.probe.asking import HERE
from integration.probe.manifests import BASE_IMAGE, Object, config_map, service

NAME = "servers"
POSTGRES, REDIS, HTTP, HTTP2, HTTPS, GIT, GRPC, WEBSOCKET = 5432, 6379, 8000, 8001, 8443, 9418, 50051, 8765
LARGE = 2_000_000
"""Bytes of what nginx has at /large."""

NOBODY: Object = {
    "runAsUser": 65534,
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
}
_NGINX = f"""
daemon off;
worker_processes 1;
pid /data/nginx.pid;
error_log stderr;
events {{ }}
http {{
  access_log off;
  client_body_temp_path /data/body;
  proxy_temp_path /data/proxy;
  fastcgi_temp_path /data/fastcgi;
  uwsgi_temp_path /data/uwsgi;
  scgi_temp_path /data/scgi;
  ssl_certificate /data/certificate.pem;
  ssl_certificate_key /data/key.pem;
  server {{
    listen {HTTP};
    listen {HTTP2} http2;
    listen {HTTPS} ssl http2;
    location /large {{ alias /data/large; }}
    location / {{ return 200 "$server_protocol from $remote_addr\\n"; }}
  }}
}}
"""
_COMMANDS: dict[str, tuple[int, str]] = {
    "postgres": (
        POSTGRES,
        "export LC_ALL=C; cd $(ls -d /usr/lib/postgresql/*/bin | tail -n 1)\n"
        "./initdb -D /data/pg -A trust -N -U tester >&2\n"
        "echo 'host all all all trust' >>/data/pg/pg_hba.conf\n"
        "exec ./postgres -D /data/pg -h '*' -k /data -c fsync=off",
    ),
    "redis": (REDIS, "exec redis-server --protected-mode no --save '' --dir /data"),
    "nginx": (
        HTTP,
        "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=servers -days 2 "
        "-keyout /data/key.pem -out /data/certificate.pem\n"
        f"head -c {LARGE} /dev/zero >/data/large\n"
        "exec nginx -e stderr -c /servers/nginx.conf",
    ),
    "git": (
        GIT,
        "export HOME=/data; git init -q --bare /data/repository\n"
        f"exec git daemon --base-path=/data --export-all --enable=receive-pack --port={GIT}",
    ),
    "websocket": (WEBSOCKET, f"exec /usr/bin/python3 /servers/echo_websocket.py serve {WEBSOCKET}"),
    "grpc": (GRPC, f"exec /usr/bin/python3 /servers/echo_grpc.py serve {GRPC}"),
}


def servers() -> list[Object]:
    """The pod, and its Service of the same name with the servers' own ports."""
    front = service(NAME, 80, 80)
    front["spec"]["ports"] = [
        {"name": f"tcp-{port}", "port": port, "targetPort": port}
        for port in (POSTGRES, REDIS, HTTP, HTTP2, HTTPS, GIT, GRPC, WEBSOCKET)
    ]
    programs = (HERE / "real" / name for name in ("echo_grpc.py", "echo_websocket.py"))
    files = {"nginx.conf": _NGINX} | {path.name: path.read_text() for path in programs}
    labels = {"app": NAME}
    spec = {
        "terminationGracePeriodSeconds": 1,
        "containers": [_container(name, *told) for name, told in _COMMANDS.items()],
        "volumes": [
            {"name": "usr", "hostPath": {"path": "/usr"}},
            {"name": "files", "configMap": {"name": NAME}},
            *({"name": f"data-{name}", "emptyDir": {}} for name in _COMMANDS),
        ],
        "securityContext": {"fsGroup": NOBODY["runAsUser"]},
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }
    return [config_map(NAME, files), front, deployment]


def _container(name: str, port: int, lines: str) -> Object:
    return {
        "name": name,
        "image": BASE_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-ec", lines],
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
        "securityContext": NOBODY,
        "volumeMounts": [
            {"name": "usr", "mountPath": "/usr", "readOnly": True},
            {"name": "files", "mountPath": "/servers"},
            {"name": f"data-{name}", "mountPath": "/data"},
        ],
    }
