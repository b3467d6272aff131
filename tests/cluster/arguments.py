"""Prints the arguments it was given."""

import json
import sys

print("arrived:", json.dumps(sys.argv[1:]))
