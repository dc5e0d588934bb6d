"""`python -m gradiseg_core` is the command `gradiseg`, where that is not installed."""

import sys

from gradiseg_core.cli import main

sys.exit(main())
