#!/bin/sh
# Make /opt/minipach, a Python environment with what minipach needs and then minipach itself, in the versions of
# constraints.txt. Start it where pyproject.toml is. pip stays outside: the image has no use for it.
#
#   python.sh dependencies|minipach
set -eu
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore

install() { /opt/pip/bin/pip --python /opt/minipach/bin/python3 --quiet install --constraint constraints.txt "$@"; }

case ${1:-} in
  dependencies)
    python3 -m venv /opt/pip
    python3 -m venv --without-pip /opt/minipach
    # All are there as wheels: so nothing is compiled, and no package's own code runs while it is installed.
    python3 -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
      >/opt/pip/requirements.txt
    install --only-binary :all: --requirement /opt/pip/requirements.txt
    ;;
  minipach)
    install --no-deps .
    /opt/minipach/bin/minipach --version
    ;;
  *)
    echo "usage: python.sh dependencies|minipach" >&2
    exit 2
    ;;
esac
