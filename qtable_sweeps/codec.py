"""The codec, and beside it JPEG and tables. All of `core.codec`."""

from core.codec import *
from core.codec import jpeg as jpeg
from core.codec import qtable as qtable
from core.codec import rate as rate
