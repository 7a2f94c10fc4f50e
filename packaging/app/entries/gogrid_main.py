import sys

from gogrid.client.cli import main

sys.exit(main())
