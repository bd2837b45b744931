"""What a result depends on is written beside it."""

import subprocess
import sys

from gfn_envs.versions import code_commit, versions


def test_packages_and_machine_are_named():
    found = versions()
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"gfn-gym", "gymnasium", "numpy", "torch", "machine"} <= set(found)


def test_the_commit_of_a_checkout_tells_changes(tmp_path):
    def git(*arguments):
        identity = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    file = tmp_path / "code.py"
    file.write_text("1\n")
    assert code_commit(file) == "", "there is no repository"
    git("init")
    assert code_commit(file) == "", "a repository that does not know the file is somebody else's"
    git("add", "code.py")
    git("commit", "-m", "first")
    clean = code_commit(file)
    assert len(clean) == 12
    assert int(clean, 16) >= 0
    file.write_text("2\n")
    assert code_commit(file) == f"{clean}-dirty"
