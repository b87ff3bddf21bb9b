#!/bin/sh
# Removes the lab, also after a crash: processes in its namespaces first, then the namespaces.
set -eu
. "$UNDROP_LAB_HOME/lib.sh"
# Each by its name: the fleet lab's begin with the same prefix.
dismantle /run/netns/"$P"-w /run/netns/"$P"-r /run/netns/"$P"-h[12] /run/netns/"$P"-p[123]
