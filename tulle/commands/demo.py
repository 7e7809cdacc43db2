"""`tulle demo`: a Kubernetes API, the mesh and a shop on this machine, then the figures.

Runs until Ctrl-C, or once with `--once`; then nothing is left behind. Exit code 1 when a claim is not met.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import click

from devcluster.cluster import ClusterError, DevCluster
from devcluster.runtime.users import why_one_user
from tulle.demo.figures import Figures, LoadCounts, mtls_share
from tulle.demo.forward import ForwardError
from tulle.demo.show import Show
from tulle.demo.stage import NAMESPACE, SYSTEM, Stage, StageError
from tulle.output import Failure

STEADY_REQUESTS = 700
"""Requests made before the restarts: with those in between, a share of 10 % is measured to 1 % (one standard deviation)."""


@click.command()
@click.option("--once", is_flag=True, help="Run once and end, instead of staying until Ctrl-C.")
@click.option(
    "--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures to this file."
)
@click.option(
    "--image",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Run the mesh from this image's archive (`make image` writes one; default: from this very environment).",
)
@click.option(
    "--dir", "directory", type=click.Path(path_type=Path), help="Keep everything here (default: a temporary directory)."
)
def demo(*, once: bool, json_path: Path | None, directory: Path | None, image: Path | None) -> None:
    """Run a cluster, the mesh and a shop on this machine."""
    if reason := why_one_user():
        # A sidecar's own traffic is told from its app's by its user.
        raise Failure(f"a sidecar needs a user of its own, and pods can have only one here: {reason}")
    kept = directory is not None
    home = (directory or Path(tempfile.mkdtemp(prefix="tulle-demo-"))).resolve()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    show = Show()
    try:
        broken = _run(show, DevCluster(home, images=_images(home, image)), once=once, json_path=json_path)
    except (ClusterError, StageError, ForwardError) as problem:
        raise click.ClickException(str(problem)) from None
    except KeyboardInterrupt:
        broken = []
    finally:
        if not kept:
            shutil.rmtree(home, ignore_errors=True)
    for sentence in broken:
        click.echo(f"✗ {sentence}", err=True)
    sys.exit(1 if broken else 0)


def _run(show: Show, cluster: DevCluster, *, once: bool, json_path: Path | None) -> list[str]:
    """Bring everything up, measure, tell; returns the claims not met."""
    with show.step("a Kubernetes API and a node"):
        cluster.start()
    try:
        stage = Stage(kubeconfig=cluster.kubeconfig)
        with show.step("Tulle, from its Helm chart"):
            stage.install_mesh()
        with show.step("the shop, opted in by an annotation on each Deployment"):
            stage.open_shop()
        with stage.watching_load() as url:
            stage = replace(stage, load_url=url)
            figures = _measure(show, stage)
            broken = figures.broken_claims()
            if figures.failed_requests:
                broken += [f"the load met: {error}" for error in stage.load_errors()]
        show.figures(figures)
        if json_path is not None:
            json_path.write_text(json.dumps(figures.as_dict(), indent=2) + "\n")
        if not once:
            show.next_steps(cluster.kubeconfig)
            signal.pause()
        return broken
    finally:
        with show.step("everything is taken down"):
            cluster.stop()


def _measure(show: Show, stage: Stage) -> Figures:
    """Put the shop under load through two restarts and read what happened."""
    with show.step(f"{STEADY_REQUESTS} pages under steady load"):
        stage.wait_for_requests(1, 30)
        ready = show.seconds()
        steady = stage.wait_for_requests(STEADY_REQUESTS, 60)
    with show.step("catalog is rolled under load"):
        stage.restart(NAMESPACE, "catalog")
        rolled = stage.wait_for_requests(50, 30)
    with show.step("the control plane restarts under load"):
        stage.restart(SYSTEM, "tulle")
        last = stage.wait_for_requests(50, 30)
    pods = stage.shop_pods()
    return Figures(
        injected_pods=sum(_is_injected(pod) for pod in pods),
        requests=last.requests,
        failed_requests=last.failed,
        mtls_share=mtls_share(stage.metrics()),
        split_observed=_split(last),
        rolling_restart_failures=rolled.failed - steady.failed,
        control_plane_restart_failures=last.failed - rolled.failed,
        p50_ms=steady.p50_ms,
        p99_ms=steady.p99_ms,
        seconds_to_ready=ready,
        seconds_total=show.seconds(),
    )


def _split(counts: LoadCounts) -> float:
    return counts.v2 / (counts.v1 + counts.v2) if counts.v1 + counts.v2 else 0.0


def _is_injected(pod: dict[str, object]) -> bool:
    metadata, spec = pod["metadata"], pod["spec"]
    return (
        isinstance(metadata, dict) and isinstance(spec, dict) and "tulle.dev/status" in metadata.get("annotations", {})
    )


def _images(home: Path, image: Path | None) -> Path:
    """Write the map from image names to what runs here: the one image is its archive, or this very environment."""
    home.mkdir(parents=True, exist_ok=True)
    path = home / "images.json"
    here = {"path": [str(Path(sys.executable).parent)]}
    mesh = {"archive": str(image.resolve())} if image is not None else here
    path.write_text(json.dumps({"tulle:*": mesh}))
    return path
