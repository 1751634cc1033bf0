from __future__ import annotations

from pathlib import Path

import pytest

from rig.errors import RigError
from rig.images import IMAGES, Image, TaggedImage, content_hash, copied, named

_DOCKERFILE = """\
ARG BASE=python:3.13-slim
FROM ${BASE} AS packages
COPY requirements.txt /tmp/
FROM ${BASE}
COPY --from=packages /opt/venv /opt/venv
COPY --chown=1:1 source \\
     more /app/
# COPY comment /app
"""


@pytest.fixture
def image(tmp_path: Path) -> Image:
    (tmp_path / "Dockerfile").write_text(_DOCKERFILE)
    (tmp_path / "requirements.txt").write_text("a==1\n")
    for name in ("source", "more", "apart"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file.py").write_text("pass\n")
    return Image(name="mine", dockerfile=tmp_path / "Dockerfile", context=tmp_path)


def test_only_what_comes_from_the_context_is_copied() -> None:
    assert copied(_DOCKERFILE) == ["requirements.txt", "source", "more"]


@pytest.mark.parametrize("path", ["Dockerfile", "requirements.txt", "source/file.py", "more/file.py"])
def test_hash_changes_with_each_input(image: Image, path: str) -> None:
    before = content_hash(image)
    with (image.context / path).open("a") as file:
        file.write("# changed\n")

    assert content_hash(image) != before


def test_hash_changes_with_a_files_mode_and_name(image: Image) -> None:
    before = content_hash(image)
    file = image.context / "source" / "file.py"
    file.chmod(0o755)
    executable = content_hash(image)
    file.rename(file.with_name("other.py"))

    assert len({before, executable, content_hash(image)}) == 3


@pytest.mark.parametrize("path", ["apart/file.py", "source/__pycache__/file.pyc"])
def test_hash_stays_when_something_else_changes(image: Image, path: str) -> None:
    before = content_hash(image)
    (image.context / path).parent.mkdir(exist_ok=True)
    (image.context / path).write_text("changed\n")

    assert content_hash(image) == before


def test_missing_source_is_named(image: Image) -> None:
    (image.context / "requirements.txt").unlink()

    with pytest.raises(RigError, match=r"Dockerfile: COPY requirements.txt: there is no such file"):
        content_hash(image)


def test_projects_own_images_can_be_hashed() -> None:
    assert len({content_hash(image) for image in IMAGES}) == len(IMAGES)


def test_reference_is_the_same_whatever_the_clusters_addresses(image: Image) -> None:
    assert TaggedImage(image, "0123456789ab").reference == "registry.testbed:5000/resumable-sweep-mine:0123456789ab"


def test_unknown_image_is_refused_with_those_there_are() -> None:
    with pytest.raises(RigError, match=r"'sidecars' is none of this project's; there are operator, sidecar, digits"):
        named(["sidecars"])


def test_no_names_are_all_images() -> None:
    assert named([]) == list(IMAGES)
