# numba takes a cache only from a folder that it can write to, and the image may be mounted read-only: work on a copy.
set -e
mkdir -p "$NUMBA_CACHE_DIR"
cp -R /opt/upwell/kernels/. "$NUMBA_CACHE_DIR"
exec "$@"
