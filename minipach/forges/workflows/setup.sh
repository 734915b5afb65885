# minipach, DataLad and git-annex, outside of the project
set -eu
python3 -m venv "$HOME/minipach-ci"
. "$HOME/minipach-ci/bin/activate"
pip install --quiet "${MINIPACH_PACKAGE:-minipach}"
git config --global user.name >/dev/null || git config --global user.name "minipach"
git config --global user.email >/dev/null || git config --global user.email "minipach@localhost"
# a branch, since results are commits on it; then all repos of the project, and what is known of results
git switch --quiet --force-create "$BRANCH"
git config "branch.$BRANCH.remote" origin
git config "branch.$BRANCH.merge" "refs/heads/$BRANCH"
datalad get --no-data --recursive .
minipach pull origin
# the names of stores, with blanks between them
for store in ${MINIPACH_STORE:-}; do minipach store add "$store"; done
