"""The product on a kernel that keeps user namespaces from plain users (`userns_refused`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from integration.support.plain_user import PlainUser
from integration.support.product import Product, Running
from integration.support.userns_refused import where_refused


class _StartedByRoot(PlainUser):
    def popen_arguments(self) -> dict[str, object]:
        return {}


class RefusedProduct(Product):
    """For tests that run as root; what it starts is the plain user's all the same."""

    def start_command(
        self,
        command: list[str],
        environment: Mapping[str, str] | None = None,
        pipe_stdout: bool = False,
        directory: Path | None = None,
    ) -> Running:
        refused = where_refused(self.user.uid, self.user.gid, command)
        return super().start_command(refused, environment, pipe_stdout, directory)


def refused_product(product: Product) -> RefusedProduct:
    """The same user, kubeconfig and directories; ended by its own `end_all`."""
    user = _StartedByRoot(
        **{each.name: getattr(product.user, each.name) for each in dataclasses.fields(PlainUser)}
    )
    return RefusedProduct(user, product.directory, product.kubeconfig)
