# Words for scripts that build programs from their Go modules, once, into a cache outside the checkout. To be sourced by one that
# has set LAB (this folder), WHO (of whom it tells), PACKAGES (about how many there are to compile) and NEEDED_GIB (with an empty build cache).

. "$LAB/cached.sh"

cached() { # FOLDER [FILE]: as in_cache, and checks what a build needs
  in_cache "$@"
  command -v go >/dev/null || { tell 'there is no Go on PATH: this is built from its modules with Go 1.26 or newer'; exit 1; }
  for folder in "${cache%/*}" "$(go env GOCACHE)" "$(go env GOMODCACHE)"; do
    # What does not exist yet will be made where its nearest ancestor is.
    while [ ! -d "$folder" ]; do folder=$(dirname "$folder"); done
    free=$(($(df -Pk "$folder" | awk 'NR == 2 { print $4 }') / 1048576))
    [ "$free" -ge "$NEEDED_GIB" ] ||
      { tell "building needs $NEEDED_GIB GiB, and $folder has $free GiB free; make room or set XDG_CACHE_HOME, GOCACHE and GOMODCACHE"; exit 1; }
  done
}

compiled() { # LDFLAGS WORD…: what `go build` makes of the words, from the module of this folder
  link=$1
  shift
  CGO_ENABLED=0 nice -n 10 go build -v -trimpath -ldflags "$link" "$@"
}

build() { # COMMAND…: runs it, telling how far it is, and puts what it leaves in $work into the cache
  { "$@" 2>&1 || echo FAILED; } | tee "$cache.log" | awk -v who="$WHO" -v all="$PACKAGES" '!/^go: / && ++n % 100 == 0 {
    print who ": building: " n " of about " all " packages" >"/dev/stderr" }'
  if grep -qx FAILED "$cache.log"; then
    tell 'go build failed:'
    tail -n 5 "$cache.log" >&2
    exit 1
  fi
  rm "$cache.log"
  tell "built $(du -sh "$work" | cut -f1) in $cache"
  finished
}
