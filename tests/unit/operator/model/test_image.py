from __future__ import annotations

import pytest

from sweep_operator.model.image import digest_of, known_name, of_one_form, repository_of

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


@pytest.mark.parametrize(
    ("image_id", "digest"),
    [
        (f"docker.io/library/busybox@{A}", A),
        (f"localhost:5000/team/busybox@{A}", A),
        (f"docker-pullable://busybox@{A}", A),
        (A, f"loaded-{A}"),
        (f"docker://{A}", ""),
        ("busybox:1", ""),
        ("", ""),
    ],
)
def test_what_a_runtime_says_of_an_image(image_id: str, digest: str) -> None:
    assert digest_of(image_id) == digest


def test_a_registry_s_digest_is_not_compared_with_that_of_a_configuration() -> None:
    known = (A, f"loaded-{A}", B)
    assert of_one_form(known, B) == (A, B)
    assert of_one_form(known, f"loaded-{B}") == (f"loaded-{A}",)


@pytest.mark.parametrize(
    ("image", "repository"),
    [
        ("busybox", "busybox"),
        ("busybox:1.36", "busybox"),
        (f"busybox:1.36@{A}", "busybox"),
        ("localhost:5000/busybox", "localhost:5000/busybox"),
        (f"localhost:5000/team/busybox@{A}", "localhost:5000/team/busybox"),
    ],
)
def test_the_repository_of_an_image(image: str, repository: str) -> None:
    assert repository_of(image) == repository


def test_an_image_that_is_pinned_later_is_the_same_where_it_is_the_same() -> None:
    images = {"r/main:1": (A,), "r/other:1": (A,)}
    assert known_name(f"r/main@{A}", images) == "r/main:1"
    assert known_name(f"r/main:1@{A}", images) == "r/main:1"
    assert known_name(f"r/other@{A}", images) == "r/other:1"
    for image in (f"r/main@{B}", f"r/third@{A}", "r/main:1", "r/main:2"):
        assert known_name(image, images) == image
