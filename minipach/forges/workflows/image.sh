# containers/NAME/Dockerfile describes the container NAME: build it if it changed after its image
set -eu
. "$HOME/minipach-ci/bin/activate"
before=$(git rev-parse HEAD)
for file in containers/*/Dockerfile; do
  [ -f "$file" ] || continue
  folder=${file%/Dockerfile}
  name=${folder#containers/}
  image=.datalad/environments/$name/image
  made=$(git log -1 --format=%H -- "$image")
  if [ -n "$made" ] && git diff --quiet "$made" HEAD -- "$folder"; then continue; fi
  # annexed files are links, which lead out of the folder that a builder sees
  work=$(mktemp -d)
  datalad get "$folder"
  cp -RL "$folder" "$work/context"
  archive=$work/$name.tar
  "${DOCKER:-docker}" build --tag "minipach-$name" "$work/context"
  "${DOCKER:-docker}" save --output "$archive" "minipach-$name"
  datalad containers-add --update --url "$archive" --image "$image" "$name"
done
# the branch gets the image in one commit, so that later runs use the same
if [ "$(git rev-parse HEAD)" != "$before" ]; then datalad push --to origin; fi
