"""Names and digests of container images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_ALGORITHM = "sha256:"


def digest_of(image_id: str) -> str:
    """Return what a container's status says that its image is, empty where that is no digest.

    A runtime says `REPOSITORY@sha256:...`, the digest in the registry, for an image that it has pulled; of one that
    was loaded into the node it knows but `sha256:...`, the digest of its configuration (status.containerStatuses[]
    .imageID, from ImageRef of the container runtime interface).
    """
    repository, at, digest = image_id.rpartition("@")
    if not digest.startswith(_ALGORITHM):
        return ""
    return digest if at and repository else f"loaded-{digest}"


def of_one_form(digests: Iterable[str], digest: str) -> tuple[str, ...]:
    """Return those digests that `digest` can be compared with: of a registry's, or of configurations."""
    return tuple(each for each in digests if is_of_registry(each) == is_of_registry(digest))


def is_of_registry(digest: str) -> bool:
    """Return whether it is a registry's digest, by which an image can be pulled."""
    return digest.startswith(_ALGORITHM)


def is_pinned(image: str) -> bool:
    """Return whether a name holds the image's digest."""
    return f"@{_ALGORITHM}" in image


def repository_of(image: str) -> str:
    """Return an image's name without tag and digest."""
    folder, slash, last = image.partition("@")[0].rpartition("/")
    return f"{folder}{slash}{last.partition(':')[0]}"


def known_name(image: str, images: Mapping[str, Iterable[str]]) -> str:
    """Return by which name of `images` the results so far know an image that is now named by its digest.

    Whoever pins the image that has run all along changes nothing.
    """
    digest = image.partition("@")[2]
    for name, digests in images.items():
        if digest in digests and repository_of(name) == repository_of(image):
            return name
    return image
