"""Starts the runtime client: `python -s -S bootstrap.py LAYERS_FOLDER SDK_FOLDER`."""

import _squall_runtime

_squall_runtime.main()
