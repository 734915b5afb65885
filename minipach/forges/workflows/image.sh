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
  archive=$(mktemp -d)/$name.tar
  "${DOCKER:-docker}" build --tag "minipach-$name" "$folder"
  "${DOCKER:-docker}" save --output "$archive" "minipach-$name"
  datalad containers-add --update --url "$archive" --image "$image" "$name"
done
# the branch gets the image in one commit, so that later runs use the same
if [ "$(git rev-parse HEAD)" != "$before" ]; then datalad push --to origin; fi
