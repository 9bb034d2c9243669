"""`python -I -S -B …/kernel/entry.py`: the privileged process, and nobody else's code.

`-I` ignores the environment and the directory; `-S` leaves out site-packages and whatever `.pth`
files run; `-B` writes no compiled files. So only the standard library can be imported, and this
package, which is put in its place by hand: its directory never comes onto the path, where whatever
else is installed beside it could be imported too.
"""

import importlib.util
import os.path
import sys

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def _find_package() -> None:
    """Have `import gatekeeper` find the package that this file is in, and nothing else."""
    spec = importlib.util.spec_from_file_location(
        "gatekeeper", os.path.join(_PACKAGE, "__init__.py"), submodule_search_locations=[_PACKAGE]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["gatekeeper"] = package
    spec.loader.exec_module(package)


if __name__ == "__main__":
    _find_package()
    from gatekeeper.kernel.main import main

    sys.exit(main())
