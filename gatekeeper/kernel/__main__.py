"""`python -I -m gatekeeper.kernel`."""

import sys

from gatekeeper.kernel.main import main

sys.exit(main())
