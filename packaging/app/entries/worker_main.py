import sys

from tray.entry import main

sys.exit(main())
