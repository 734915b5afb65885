# a pull request keeps its results for later; the main branch publishes, with one commit of the project
set -eu
. "$HOME/minipach-ci/bin/activate"
if [ -n "${PULL_REQUEST:-}" ]; then
  minipach ci comment
  minipach schedule
  minipach results push origin
else
  minipach schedule
  minipach push origin
fi
