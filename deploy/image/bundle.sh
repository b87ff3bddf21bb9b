#!/bin/sh
# Bundles the workflows in the folder that this lies in, once: a worker that had to do it starts seconds later, and needs a
# third more memory.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# Made here, since the compiler would make it for one user only.
mkdir -p "$here/.cache"
XDG_CACHE_HOME=$here/.cache "$here/node_modules/.bin/node" --disable-warning=ExperimentalWarning \
  -e "import('$here/worker/worker.ts').then((worker) => worker.workflowBundle())"
# A copy of the compiler.
rm -rf "$here"/.cache/swc-*
