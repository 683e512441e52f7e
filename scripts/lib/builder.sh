# shellcheck shell=bash
# Who builds in a layer over this system: the owner of /srv/objects, which stays. What was compiled in earlier runs is there.
builder=$(stat --format=%U /srv/objects)

as_builder() {
  runuser -u "$builder" -- env HOME=/nonexistent PATH="/usr/lib/ccache:$PATH" CCACHE_DIR=/srv/objects CCACHE_BASEDIR="$PWD" \
    CCACHE_NOHASHDIR=1 CCACHE_MAXSIZE=2G "$@"
}
