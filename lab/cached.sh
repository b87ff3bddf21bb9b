# Words for scripts that make something once, into a cache outside the checkout. To be sourced by one that has set WHO (of whom
# it tells).

tell() { echo "$WHO: $*" >&2; }

in_cache() { # FOLDER [FILE]: prints its path and ends the script where it is made already; else makes $work, to make it in
  cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/undrop/$1
  result=$cache${2:+/$2}
  [ ! -e "$cache" ] || { echo "$result"; exit 0; }
  mkdir -p "${cache%/*}"
  # Two that start together make it once; what was broken off begins anew.
  exec 9>"$cache.lock"
  flock 9
  [ ! -e "$cache" ] || { echo "$result"; exit 0; }
  work=$cache.new
  rm -rf "$work"
  mkdir -p "$work"
}

finished() { # puts what is in $work into the cache and prints its path
  mv "$work" "$cache"
  echo "$result"
}
