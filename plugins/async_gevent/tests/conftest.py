"""gevent's tests run in a patched process of their own."""

# patching comes before everything else
from gevent import monkey

monkey.patch_all()
