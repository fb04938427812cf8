import sys
from importlib.metadata import requires

import pytest

from mmfeat.system.packages import install_command


@pytest.mark.parametrize(
    "package", ["transformers", "open-clip-torch", "timm", "sentence-transformers", "tensorboard"]
)
def test_the_command_names_the_package_with_the_version_of_the_extra(package):
    start, _, requirement = install_command(package).rpartition(" install ")
    assert start == f"{sys.executable} -m pip"
    requirement = requirement.strip("'")
    assert requirement.startswith(f"{package}>=")
    assert any(text.startswith(requirement) for text in requires("mmfeat"))


def test_a_package_that_no_extra_has_is_named_without_a_version():
    assert install_command("no-such-package").endswith(" install no-such-package")
    assert install_command("torc").endswith(" install torc")
