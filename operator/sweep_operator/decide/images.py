"""Whether all attempts run the same images, although a tag may come to mean another one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sweep_operator.model.image import is_of_registry, of_one_form, repository_of
from sweep_operator.model.observed import PodView

DIGESTS_KEPT = 16
"""So many digests of one image are remembered: more than one there is only where `allowDrift` let them in."""

Images = Mapping[str, tuple[str, ...]]
"""Digests that count as the same, by the image's name in the template; the first attempt's stands first."""


def known_images(images: Images, pods: Iterable[PodView], *, may_drift: bool) -> Images:
    """Return the images with what attempts run that nothing can be held against.

    An image that is named by its digest is none of them: it never becomes another one.
    """
    known = dict(images)
    for pod in sorted(pods, key=lambda pod: pod.attempt):
        for container, digest in pod.digests:
            before = known.get(container.image, ())
            if digest not in before and (may_drift or not of_one_form(before, digest)):
                known[container.image] = (*before, digest)[-DIGESTS_KEPT:]
    return known


def drift_of(pod: PodView | None, images: Images) -> str:
    """Return what is said of an attempt that runs another image than its sweep did so far, empty where it does not."""
    for container, digest in pod.digests if pod is not None else ():
        known = images.get(container.image, ())
        before = of_one_form(known, digest) if digest not in known else ()
        if before:
            return (
                f"container {container.name} runs {container.image} with digest {digest}, and the results so far come "
                f"from {before[-1]}. {_mend(container.image, before[-1])}; or, where the results so far are as good, "
                "set spec.allowDrift to [Images]"
            )
    return ""


def _mend(image: str, digest: str) -> str:
    if is_of_registry(digest):
        return f"Name the image by its digest ({repository_of(image)}@{digest})"
    return "Load the same image into all nodes"
