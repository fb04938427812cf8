"""`python -m mmfeat`: the same as the command `mmfeat`."""

import sys

from mmfeat.cli.main import main

sys.exit(main())
