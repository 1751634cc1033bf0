"""Whether all attempts run the same images, although a tag may come to mean another one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sweep_operator.model.image import digest_of, is_of_registry, is_pinned, of_one_form, repository_of
from sweep_operator.model.observed import ContainerView, PodView

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
        for container in pod.mains:
            digest = _checked_digest(container)
            before = known.get(container.image, ())
            if digest and digest not in before and (may_drift or not of_one_form(before, digest)):
                known[container.image] = (*before, digest)[-DIGESTS_KEPT:]
    return known


def drift_of(pod: PodView | None, images: Images) -> str:
    """Return what is said of an attempt that runs another image than its sweep did so far, empty where it does not."""
    for container in pod.mains if pod is not None else ():
        digest = _checked_digest(container)
        before = of_one_form(images.get(container.image, ()), digest)
        if digest and before and digest not in before:
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


def _checked_digest(container: ContainerView) -> str:
    return "" if is_pinned(container.image) else digest_of(container.image_id)
