#!/bin/sh
# Removes the lab, also after a crash: processes in its namespaces first, then the namespaces.
set -eu
. "$UNDROP_LAB_HOME/lib.sh"
dismantle /run/netns/"$P"-*
