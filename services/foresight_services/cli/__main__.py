"""`python -m foresight_services.cli`, the same as the command `foresight`."""

import sys

from foresight_services.cli import main

sys.exit(main())
