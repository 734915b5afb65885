# also after a failure: the comment says what failed
set -eu
. "$HOME/minipach-ci/bin/activate"
if [ -n "${PULL_REQUEST:-}" ]; then minipach ci comment; fi
minipach ci status --commit "$(git rev-parse "refs/remotes/origin/$BRANCH")"
