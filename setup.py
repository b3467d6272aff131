"""The wheel: core, jobs, results and search as parts of the one package `qtable_sweeps`.

In a clone they keep their short names; docs/decisions/0016-one-package.md says why.
"""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

SHORT = ("core", "jobs", "results", "search")
PARTS = find_packages(include=[f"{name}*" for name in SHORT])
SAID = (  # in the order of their use; a hint's command must be one that the reader has
    (rf"^(\s*from) ({'|'.join(SHORT)})(?=[. ])", r"\1 qtable_sweeps.\2"),
    (rf"^(\s*)import ({'|'.join(SHORT)})$", r"\1from qtable_sweeps import \2"),
    (r"(?<![\w./])core\.(?=[a-z])", "qtable_sweeps.core."),
    (r"python -m search\b", "qtable-sweeps"),
    (r"python -m results\b", "qtable-sweeps results"),
    (r"python jobs/(\w+)\.py", r"qtable-sweeps \1"),
)


class Wheel(build_py):
    """Copies every module with its imports of ours made longer."""

    def run(self) -> None:
        """From nothing: what an earlier build left may be gone from the sources."""
        if not self.editable_mode:
            shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()

    def build_module(self, module: str, module_file: str, package: str) -> tuple[str, int]:
        """As setuptools does, then change the copy."""
        path, copied = super().build_module(module, module_file, package)
        text = Path(path).read_text(encoding="utf-8")
        for short, long in SAID:
            text = re.sub(short, long, text, flags=re.MULTILINE)
        Path(path).write_text(text, encoding="utf-8")
        return path, copied


class Clone(editable_wheel):
    """`pip install -e`: the folders as they are."""

    def finalize_options(self) -> None:
        """Before setuptools looks at them."""
        self.distribution.packages = ["qtable_sweeps", *PARTS]
        self.distribution.package_dir = {}
        super().finalize_options()


setup(
    packages=["qtable_sweeps", *(f"qtable_sweeps.{part}" for part in PARTS)],
    package_dir={f"qtable_sweeps.{name}": name for name in SHORT},
    cmdclass={"build_py": Wheel, "editable_wheel": Clone},
)
