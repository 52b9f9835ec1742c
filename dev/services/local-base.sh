#!/usr/bin/env bash
# Makes an image `chronoverse-base` from this machine's Node, so that the Dockerfile can be built where no registry is
# in reach:
#
#   eval "$(npm run --silent services -- env)"
#   bash dev/services/local-base.sh
#   docker build --network host --build-arg BASE=chronoverse-base --tag chronoverse .
set -euo pipefail

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/{tmp,etc,root,app,usr/local/bin,usr/local/lib,home/node}
chmod 1777 "$root/tmp"
chmod 755 "$root"

node=$(node -p process.execPath)
npm=$(dirname "$(dirname "$(readlink -f "$(command -v npm)")")")
cp "$node" "$root/usr/local/bin/node"
cp -r "$npm" "$root/usr/local/lib/npm"
ln -s ../lib/npm/bin/npm-cli.js "$root/usr/local/bin/npm"

# Node's libraries, and those that native packages ask for; each where the loader looks for it.
{ ldd "$node" | grep -o '/[^ ]*'; ldconfig -p | grep -oE '/[^ ]*lib(gcc_s|rt|dl|pthread|m)\.so\.[0-9]$'; } | while read -r library; do
  mkdir -p "$root$(dirname "$library")"
  cp -L "$library" "$root$library"
done

printf 'root:x:0:0:root:/root:/bin/sh\nnode:x:1000:1000:node:/home/node:/bin/sh\n' > "$root/etc/passwd"
printf 'root:x:0:\nnode:x:1000:\n' > "$root/etc/group"
printf 'hosts: files dns\n' > "$root/etc/nsswitch.conf"

# The machine's own way to its package registry: certificates, and npm's settings without any credentials.
certificates=/etc/ssl/certs/ca-certificates.crt
if [ -f "$certificates" ]; then
  mkdir -p "$root/etc/ssl/certs"
  cp -L "$certificates" "$root$certificates"
fi
{ printf 'registry=%s\n' "$(npm config get registry)"; [ ! -f "$certificates" ] || printf 'cafile=%s\n' "$certificates"; } > "$root/root/.npmrc"

# The shell and the usual commands are those of alpine:3, or of what `npm run services` put in its place.
base=$(docker create alpine:3 true)
docker export "$base" | tar -x -C "$root" --keep-directory-symlink --skip-old-files --exclude=dev --exclude=proc --exclude=sys
docker rm "$base" > /dev/null
tar --owner=0 --group=0 --numeric-owner -C "$root" -c . |
  docker import --change 'ENV PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin' - chronoverse-base > /dev/null
echo 'Made the image chronoverse-base.'
