# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From folder, archive or git to the same packed release, built once."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail

from plugins.action.release_build import ActionModule
from plugins.module_utils.release import ReleaseError, parse_source, parse_steps
from plugins.plugin_utils.release_build import Builder, Wish

APPLICATION = {
    "artisan": "#!/usr/bin/env php\n",
    "bootstrap/app.php": "<?php return 1;\n",
    "bootstrap/cache/config.php": "<?php return [];\n",
    "public/index.php": "<?php\n",
    "vendor/autoload.php": "<?php\n",
    "storage/logs/laravel.log": "noise\n",
    ".env": "APP_KEY=secret\n",
}
EXCLUDE = (".git", "node_modules", "/.env", "/storage", "/bootstrap/cache/*")


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    if (root / "artisan").exists():
        (root / "artisan").chmod(0o755)
    return root


def wish(kind: str, location: Path | str, *steps: object, **more: str) -> Wish:
    return Wish(parse_source({"type": kind, "location": str(location), **more}), parse_steps(steps), EXCLUDE)  # type: ignore[arg-type]


def names(archive: Path) -> set[str]:
    with tarfile.open(archive) as packed:
        return set(packed.getnames())


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main", "-c", "tag.gpgsign=false"]
    return subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    return Builder(tmp_path / "cache")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "source", APPLICATION)


def test_a_folder_becomes_a_release_without_its_secrets_and_traces(builder: Builder, folder: Path) -> None:
    it = wish("folder", folder)
    archive, built = builder.build(it, builder.find(it))
    assert built
    assert names(archive) == {"artisan", "bootstrap/app.php", "public/index.php", "vendor/autoload.php"}


def test_what_is_left_out_does_not_rename_a_release(builder: Builder, folder: Path) -> None:
    before = builder.find(wish("folder", folder))
    write(folder, {"storage/logs/laravel.log": "more noise\n", ".env": "x", "node_modules/a/b.js": "x", ".git/HEAD": "x"})
    assert builder.find(wish("folder", folder)) == before
    write(folder, {"app/User.php": "<?php\n"})
    assert builder.find(wish("folder", folder)) != before


def test_a_release_is_built_once(builder: Builder, folder: Path) -> None:
    it = wish("folder", folder, "echo built >> ../../count; echo x > public/app.js")
    first, built = builder.build(it, builder.find(it))
    assert built
    assert "public/app.js" in names(first)
    assert builder.build(it, builder.find(it)) == (first, False)


def test_the_same_source_packs_to_the_same_bytes_anywhere(tmp_path: Path, folder: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "elsewhere"))
    for path in copy.rglob("*"):
        os.utime(path, (1, 1))
    packed = []
    for number, source in enumerate((folder, copy)):
        builder = Builder(tmp_path / f"cache{number}")
        it = wish("folder", source)
        packed.append(hashlib.sha256(builder.build(it, builder.find(it))[0].read_bytes()).hexdigest())
    assert packed[0] == packed[1]


def test_packed_times_differ_with_the_content_only(builder: Builder, folder: Path) -> None:
    def times() -> dict[str, float]:
        it = wish("folder", folder)
        with tarfile.open(builder.build(it, builder.find(it))[0]) as packed:
            return {member.name: member.mtime for member in packed}

    before = times()
    write(folder, {"public/index.php": "<?PHP\n"})
    after = times()
    assert {name for name in before if before[name] != after[name]} == {"public/index.php"}


def test_the_source_itself_stays_as_it_is(builder: Builder, folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    it = wish("folder", folder, "touch made-by-the-build")
    builder.build(it, builder.find(it))
    assert sorted(folder.rglob("*")) == before


def test_a_subdirectory_is_the_application_and_its_build_reaches_its_neighbours(builder: Builder, tmp_path: Path) -> None:
    write(tmp_path / "both" / "api", APPLICATION)
    write(tmp_path / "both", {"web/main.ts": "let x", "README.md": "both"})
    it = wish("folder", tmp_path / "both", {"command": "cp main.ts ../api/public/main.js", "directory": "../web"}, subdirectory="api")
    archive, _made = builder.build(it, builder.find(it))
    assert names(archive) == {"artisan", "bootstrap/app.php", "public/index.php", "public/main.js", "vendor/autoload.php"}


def test_with_build_steps_a_neighbour_names_the_release_too_but_not_the_applications_logs(builder: Builder, tmp_path: Path) -> None:
    write(tmp_path / "both" / "api", APPLICATION)
    write(tmp_path / "both", {"web/main.ts": "let x"})
    it = wish("folder", tmp_path / "both", "true", subdirectory="api")
    before = builder.find(it)
    write(tmp_path / "both", {"api/storage/logs/laravel.log": "more"})
    assert builder.find(it) == before
    write(tmp_path / "both", {"web/main.ts": "let y"})
    assert builder.find(it) != before


@pytest.mark.parametrize("form", ["tar.gz", "zip"])
@pytest.mark.parametrize("inside", ["", "school-2.0.1"], ids=["flat", "in one folder"])
def test_an_archive_becomes_a_release(builder: Builder, tmp_path: Path, form: str, inside: str) -> None:
    write(tmp_path / "tree" / inside, APPLICATION)
    archive = tmp_path / f"school.{form}"
    if form == "zip":
        with zipfile.ZipFile(archive, "w") as packed:
            for path in (tmp_path / "tree").rglob("*"):
                packed.write(path, path.relative_to(tmp_path / "tree"))
    else:
        with tarfile.open(archive, "w:gz") as packed_tar:
            packed_tar.add(tmp_path / "tree", ".")
    it = wish("archive", archive)
    assert names(builder.build(it, builder.find(it))[0]) == {"artisan", "bootstrap/app.php", "public/index.php", "vendor/autoload.php"}


def test_a_commit_becomes_a_release_and_carries_its_name(builder: Builder, tmp_path: Path) -> None:
    repository = write(tmp_path / "repository", {f"api/{name}": text for name, text in APPLICATION.items()})
    git(repository, "init", "--quiet")
    git(repository, "add", "-f", ".")
    git(repository, "commit", "--quiet", "-m", "one")
    one = git(repository, "rev-parse", "HEAD")
    git(repository, "tag", "-a", "v1", "-m", "v1")
    write(repository, {"api/app/User.php": "<?php"})
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "two")

    tagged = wish("git", repository, ref="v1", subdirectory="api")
    found = builder.find(tagged)
    assert found.commit == one
    assert found.release.startswith(one[:8] + "-")
    assert "app/User.php" not in names(builder.build(tagged, found)[0])

    branch = wish("git", repository, ref="main", subdirectory="api")
    newer = builder.find(branch)
    assert newer.release != found.release
    assert "app/User.php" in names(builder.build(branch, newer)[0])

    write(repository, {"README.md": "three"})
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "three")
    assert builder.find(branch).commit == git(repository, "rev-parse", "HEAD"), "a moved branch is seen"
    for ref in (one, one[:10]):
        assert builder.find(wish("git", repository, ref=ref, subdirectory="api")).commit == one


def test_a_commit_that_is_at_hand_needs_no_repository(builder: Builder, tmp_path: Path) -> None:
    repository = write(tmp_path / "repository", APPLICATION)
    git(repository, "init", "--quiet")
    git(repository, "add", "-f", ".")
    git(repository, "commit", "--quiet", "-m", "one")
    commit = git(repository, "rev-parse", "HEAD")
    it = wish("git", repository, ref=commit)
    found = builder.find(it)
    repository.rename(tmp_path / "gone")
    assert builder.find(it) == found


@pytest.mark.parametrize(
    ("kind", "location", "more", "sentence"),
    [
        pytest.param("folder", "/nonexistent", {}, "there is no folder /nonexistent", id="no such folder"),
        pytest.param("archive", "/nonexistent.tgz", {}, "there is no file /nonexistent.tgz", id="no such archive"),
        pytest.param("git", "/nonexistent.git", {}, "location: git can't read /nonexistent.git: fatal: ", id="no such repository"),
    ],
)
def test_a_source_that_is_not_there_is_named(builder: Builder, kind: str, location: str, more: dict[str, str], sentence: str) -> None:
    with pytest.raises(ReleaseError, match=sentence):
        builder.find(wish(kind, location, **more))


def test_an_unknown_ref_is_named(builder: Builder, tmp_path: Path) -> None:
    repository = write(tmp_path / "repository", APPLICATION)
    git(repository, "init", "--quiet")
    git(repository, "add", "-f", ".")
    git(repository, "commit", "--quiet", "-m", "one")
    with pytest.raises(ReleaseError, match="has no branch, tag or commit v9"):
        builder.find(wish("git", repository, ref="v9"))


def test_a_failed_build_step_shows_its_output_and_leaves_nothing(builder: Builder, folder: Path) -> None:
    it = wish("folder", folder, "echo halfway; echo broken >&2; exit 3")
    with pytest.raises(ReleaseError, match=r"(?s)build step failed: .* ended with 3:.*halfway.*broken"):
        builder.build(it, builder.find(it))
    assert [path.name for path in builder.cache.iterdir()] == [".lock"]


def test_a_source_that_needs_composer_is_told_so(builder: Builder, folder: Path) -> None:
    shutil.rmtree(folder / "vendor")
    it = wish("folder", folder)
    with pytest.raises(ReleaseError, match=r"has no vendor/autoload\.php; add a build step such as: composer install"):
        builder.build(it, builder.find(it))


@pytest.mark.parametrize("target", ["/etc/passwd", "../../outside"])
def test_a_link_that_leads_out_is_refused_by_name(builder: Builder, folder: Path, target: str) -> None:
    (folder / "public" / "leak").symlink_to(target)
    with pytest.raises(ReleaseError, match=f"the link public/leak leads out of the release, to {target}"):
        builder.find(wish("folder", folder))


def test_a_link_inside_stays_a_link(builder: Builder, folder: Path) -> None:
    (folder / "public" / "api").symlink_to("../bootstrap")
    it = wish("folder", folder)
    with tarfile.open(builder.build(it, builder.find(it))[0]) as packed:
        assert packed.getmember("public/api").linkname == "../bootstrap"


def test_the_cache_keeps_the_last_releases(tmp_path: Path, folder: Path) -> None:
    builder = Builder(tmp_path / "cache", keep=2)
    for number in range(4):
        write(folder, {"version": str(number)})
        it = wish("folder", folder)
        newest, _made = builder.build(it, builder.find(it))
    assert len(list(builder.cache.glob("*.tar.gz"))) == 2
    assert newest.exists()


# -- from the task's arguments to the packed release, whatever the source is -------------------------------------------------


def tree(archive: Path) -> dict[str, tuple[str, bytes]]:
    """What a host would unpack: path → kind and mode, content or target."""
    with tarfile.open(archive) as packed:
        return {
            member.name: (f"link {member.linkname}", b"")
            if member.issym()
            else (f"file {member.mode:o}", packed.extractfile(member).read())  # type: ignore[union-attr]
            for member in packed
        }


def build(cache: Path, source: dict[str, str], *steps: object) -> dict[str, Any]:
    """What the task release_build answers."""
    arguments = {"source": source, "steps": list(steps), "exclude": list(EXCLUDE), "cache": str(cache)}
    task = SimpleNamespace(args=arguments, check_mode=False, diff=False, async_val=0, action="release_build", environment=[], no_log=False)
    connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir="none"))
    action = ActionModule(task=task, connection=connection, play_context=None, loader=None, templar=None, shared_loader_obj=None)
    found: dict[str, Any] = action.run(task_vars={})
    return found


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository that holds API and frontend side by side, with a tag, a branch ahead of it, a link and a program."""
    root = write(tmp_path / "checkout", {f"api/{name}": text for name, text in APPLICATION.items()} | {"web/main.ts": "let x"})
    (root / "api/artisan").chmod(0o755)
    (root / "api/public/shared").symlink_to("../bootstrap")
    git(root, "init", "--quiet")
    git(root, "add", "-f", ".")
    git(root, "commit", "--quiet", "-m", "one")
    git(root, "tag", "-a", "v1", "-m", "v1")
    return root


@contextmanager
def archives(root: Path, folder: Path) -> Iterator[dict[str, Path]]:
    """The repository as others hand it over: made by git itself, all in one folder."""
    made = {}
    for form in ("tar.gz", "zip"):
        made[form] = folder / f"school.{form}"
        git(root, "archive", f"--format={form}", "--prefix=school-1/", f"--output={made[form]}", "HEAD")
    yield made


BUILD = {
    "command": 'cp main.ts "../api/public/$NAME"; chmod +x ../api/public/main.js',
    "directory": "../web",
    "environment": {"NAME": "main.js"},
}


def test_one_tree_makes_one_release_whatever_hands_it_over(checkout: Path, tmp_path: Path) -> None:
    repository = f"file://{checkout}"
    with archives(checkout, tmp_path) as packed:
        sources = {
            "folder": {"type": "folder", "location": str(checkout)},
            "a branch": {"type": "git", "location": repository, "ref": "main"},
            "a tag": {"type": "git", "location": repository, "ref": "v1"},
            "no ref": {"type": "git", "location": repository},
            "a tar.gz": {"type": "archive", "location": str(packed["tar.gz"])},
            "a zip": {"type": "archive", "location": str(packed["zip"])},
        }
        built = {what: build(tmp_path / "cache", {**source, "subdirectory": "api"}, BUILD) for what, source in sources.items()}
    trees = {what: tree(Path(answer["archive"])) for what, answer in built.items()}
    assert trees["folder"] == {
        "artisan": ("file 755", b"#!/usr/bin/env php\n"),
        "bootstrap/app.php": ("file 644", b"<?php return 1;\n"),
        "public/index.php": ("file 644", b"<?php\n"),
        "public/main.js": ("file 755", b"let x"),
        "public/shared": ("link ../bootstrap", b""),
        "vendor/autoload.php": ("file 644", b"<?php\n"),
    }
    assert {what: found for what, found in trees.items() if found != trees["folder"]} == {}
    commit = git(checkout, "rev-parse", "HEAD")
    assert {built[what]["commit"] for what in ("a branch", "a tag", "no ref")} == {commit}
    assert len({answer["release"] for answer in built.values()}) == 4, "the folder, the commit, each archive"
    assert [answer["changed"] for answer in built.values()] == [True, True, False, False, True, True]


def test_a_branch_that_moved_is_another_release_and_its_tag_the_same(checkout: Path, tmp_path: Path) -> None:
    def release(ref: str) -> dict[str, Any]:
        return build(tmp_path / "cache", {"type": "git", "location": f"file://{checkout}", "ref": ref, "subdirectory": "api"}, BUILD)

    before = {ref: release(ref) for ref in ("main", "v1")}
    write(checkout, {"web/main.ts": "let y"})
    git(checkout, "commit", "--quiet", "--all", "-m", "two")
    after = release("main")
    assert after["release"] != before["main"]["release"]
    assert tree(Path(after["archive"]))["public/main.js"] == ("file 755", b"let y")
    assert release("v1") == {**before["v1"], "changed": False}


def damaged(tmp_path: Path, name: str) -> Path:
    """An archive that cannot be unpacked, or must not be."""
    path = tmp_path / name
    if name.startswith("cut."):
        root = write(tmp_path / "big", APPLICATION | {"noise": os.urandom(100_000).hex()})
        shutil.make_archive(str(tmp_path / "cut"), "zip" if path.suffix == ".zip" else "gztar", root)
        path.write_bytes(path.read_bytes()[:20_000])
    elif name == "text.tar.gz":
        path.write_text("<html>404</html>")
    elif name.startswith("bits."):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("artisan", "x" * 5000)
        data = bytearray(path.read_bytes())
        data[40:50] = b"\xff" * 10
        path.write_bytes(data)
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as packed:
            member = zipfile.ZipInfo({"up.zip": "../evil", "root.zip": "/etc/evil", "link.zip": "a"}[name])
            member.external_attr = (0o120777 if name == "link.zip" else 0o100644) << 16
            packed.writestr(member, "/etc")
            if name == "link.zip":
                packed.writestr("a/evil", "x")
    else:
        with tarfile.open(path, "w:gz") as packed_tar:
            tar_member = tarfile.TarInfo("../evil" if name == "up.tar.gz" else "a")
            if name == "link.tar.gz":
                tar_member.type, tar_member.linkname = tarfile.SYMTYPE, "/etc"
            packed_tar.addfile(tar_member, io.BytesIO())
    return path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("cut.tar.gz", "can't be unpacked: Compressed file ended", id="a tar that was cut off"),
        pytest.param("cut.zip", "can't be unpacked: it is damaged, or no archive", id="a zip that was cut off"),
        pytest.param("bits.zip", "can't be unpacked: ", id="a zip with other bits"),
        pytest.param("text.tar.gz", "can't be unpacked: it is damaged, or no archive", id="a page instead of an archive"),
        pytest.param("up.tar.gz", "'../evil' would be extracted to", id="a tar that climbs out"),
        pytest.param("link.tar.gz", "'a' is a link to an absolute path", id="a tar with a link out"),
        pytest.param("up.zip", "holds the path ../evil, which leads out of it", id="a zip that climbs out"),
        pytest.param("root.zip", "holds the path /etc/evil, which leads out of it", id="a zip with absolute paths"),
        pytest.param("link.zip", "the link a leads out of the release, to /etc", id="a zip with a link out"),
    ],
)
def test_an_archive_that_cannot_be_a_release_is_refused_in_one_sentence(name: str, words: str, tmp_path: Path) -> None:
    location = damaged(tmp_path, name)
    with pytest.raises(AnsibleActionFail) as caught:
        build(tmp_path / "cache", {"type": "archive", "location": str(location)})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".lock"]
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        pytest.param({"ref": "v9"}, "app_source.ref: {} has no branch, tag or commit v9", id="a tag that is not there"),
        pytest.param({"ref": "0" * 40}, f"app_source.ref: {{}} has no branch, tag or commit {'0' * 40}", id="a commit that is not there"),
        pytest.param({"subdirectory": "backend"}, "app_source.subdirectory: the source has no folder backend", id="no such folder"),
        pytest.param({"subdirectory": "web"}, "the built source has no artisan, bootstrap/app.php", id="another folder"),
        pytest.param({"location": "file:///nonexistent"}, "git can't read file:///nonexistent: fatal: ", id="no repository"),
    ],
)
def test_a_repository_that_lacks_it_is_told_in_one_sentence(
    source: dict[str, str], words: str, checkout: Path, tmp_path: Path
) -> None:
    location = f"file://{checkout}"
    with pytest.raises(AnsibleActionFail) as caught:
        build(tmp_path / "cache", {"type": "git", "location": location, "subdirectory": "api", **source})
    assert words.format(location) in str(caught.value)
    assert "\n" not in str(caught.value)
