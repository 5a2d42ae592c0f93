"""ZenML steps, one file a stage. Importing this package keeps ZenML from calling home."""

import os

os.environ.setdefault("ZENML_ANALYTICS_OPT_IN", "false")
