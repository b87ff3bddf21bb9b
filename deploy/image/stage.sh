#!/bin/sh
# Lays out undrop as the worker's image has it, in a folder that is not there yet: stage.sh NODE FOLDER. NODE is the program
# that it will run on.
set -eu
# What a worker never needs stays out: labs, tests, documents.
ROOMS='activities cli client cluster domain gateway nodes runbooks worker workflows'
FILES='package.json package-lock.json undrop LICENSE'

node=$1
target=$2
repo=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$target"
cd "$repo"
# shellcheck disable=SC2086 # lists of words
cp -R $ROOMS $FILES "$target/"
cp deploy/image/bundle.sh "$target/"
cd "$target"
# Exactly what the lock file says; no script of a package runs.
npm ci --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error >&2
core=node_modules/@temporalio/core-bridge
# Temporal's core is there for every platform, with its sources.
ours=$("$node" -p "const { getPrebuiltTargetName: name } = require('./$core/common.js'); name()")
[ -d "$core/releases/$ours" ] || { echo "stage: Temporal's core is not there for $ours" >&2; exit 1; }
find "$core/releases" -mindepth 1 -maxdepth 1 ! -name "$ours" -exec rm -r {} +
rm -rf "$core/sdk-core" "$core/src" "$core/bridge-macros"
find node_modules -type f \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' -o -name '*.md' \) -delete
mkdir -p node_modules/.bin
cp -L "$node" node_modules/.bin/node
