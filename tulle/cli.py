"""The commands and the options they share; a command's module is imported when it is called, so `tulle version` is quick.

In: arguments. Out: an exit code: 0 done, 1 refused or not well (with a sentence), 2 not understood.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass

import click

from tulle.kube import Kube, KubeError
from tulle.output import Failure

COMMANDS = {
    "install": "Install Tulle into the cluster, or upgrade it.",
    "uninstall": "Take Tulle out of the cluster.",
    "check": "Tell whether the cluster can take Tulle, and whether the mesh is well.",
    "inject": "Put the sidecar into manifests, as the webhook would.",
    "routes": "Tell what a workload's sidecar would do with a request.",
    "proxy-status": "List the sidecars: connected, up to date, certificate.",
    "version": "Print the versions of this command and of the control plane.",
    "demo": "Run a cluster, the mesh and a shop on this machine.",
}
SYSTEM = "tulle-system"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Which cluster, and where in it the control plane is."""

    kubeconfig: str | None
    context: str | None
    system: str

    def kube(self) -> Kube:
        """Connect; raises Failure with one sentence."""
        try:
            return Kube.load(self.kubeconfig, self.context)
        except KubeError as error:
            raise Failure(str(error)) from None


class Commands(click.Group):
    """The commands, each in a module of its own name."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Name the commands in the order they are told."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        word = cmd_name.replace("-", "_")
        try:
            command: click.Command = getattr(importlib.import_module(f"tulle.commands.{word}"), word)
        except ModuleNotFoundError as missing:
            raise Failure(
                f"{cmd_name} needs {missing.name}; pip install 'tulle[cli,controlplane,devcluster]'"
            ) from None
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; a call of the API that did not work ends it with its sentence."""
        try:
            return super().invoke(ctx)
        except KubeError as error:
            raise Failure(str(error)) from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--kubeconfig", metavar="FILE", help="The kubeconfig to use (default: KUBECONFIG, then ~/.kube/config).")
@click.option("--context", metavar="NAME", help="The context in it (default: its current one).")
@click.option("--system-namespace", "system", default=SYSTEM, show_default=True, help="Where the control plane is.")
@click.pass_context
def cli(ctx: click.Context, *, kubeconfig: str | None, context: str | None, system: str) -> None:
    """Tulle, the lightest service mesh for Kubernetes."""
    ctx.obj = Target(kubeconfig=kubeconfig, context=context, system=system)


def main() -> None:
    """Run the command line; as `kubectl tulle` it calls itself so."""
    name = "kubectl tulle" if sys.argv[0].endswith("kubectl-tulle") else "tulle"
    cli(prog_name=name)
