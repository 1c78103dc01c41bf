"""Starts the runtime client: `python -I -S bootstrap.py LAYERS_FOLDER SDK_FOLDER`."""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])
import _squall_runtime

del sys.path[0]
_squall_runtime.main()
