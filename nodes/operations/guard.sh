# The node's own guard over a change: it keeps the before-values, checks who may act, and reverts by itself in time.
#   guard.sh read KIND NAME …                                     the current value of each
#   guard.sh arm ID TOKEN SECONDS KIND NAME BEFORE AFTER …        store, check, take the lock, start the timer
#   guard.sh apply ID TOKEN INDEX [UP TO INDEX] | confirm ID TOKEN | revert ID TOKEN | rollback ID TOKEN | status ID
#   guard.sh expire ID                                            what the timer runs
#   guard.sh list                                                 every change that has a journal here, and how it stands
#   guard.sh leave-container PID                                  moves it where the end of a pod does not end it
# One line per fact on stdout; a refusal is `refused WHY` and status 3, a lock that others hold `busy WHY` and status 4. Everything happens under one lock per network
# namespace, so that a late or second attempt finds what the first one did. /run is empty after a boot, and so is every
# setting that undrop changes: a boot ends in the old state.
LC_ALL=C
export LC_ALL
PATH=$PATH:/usr/sbin:/sbin
home=/run/undrop
netns=$(readlink /proc/self/ns/net | tr -dc 0-9)
lock=$home/lock-$netns
owner=$home/owner-$netns
dir=
# Journals of what was put back are kept so long for questions. All others stay until the boot: only they can undo.
keep_days=7

refuse() {
  echo "refused $*"
  forget
  exit 3
}

# A change that was never armed leaves nothing behind but this script, and that goes with it.
forget() {
  [ -n "$dir" ] && [ ! -e "$dir/state" ] && rm -f "$dir"/guard.* "$dir/ops" "$dir/token" "$dir/deadline" "$dir/until" "$dir/netns" "$dir/timer"
  [ -n "$dir" ] && rmdir "$dir" 2>/dev/null
  true
}

# --- the five kinds of setting -------------------------------------------------------------------------------------

current() { # KIND NAME
  case $1 in
    sysctl) cat "/proc/sys/$(echo "$2" | tr . /)" 2>/dev/null || echo unreadable ;;
    offload) features "$2" ;;
    conntrack) entry -L "$2" | grep -q '^udp ' && echo present || echo absent ;;
    process) process "$2" ;;
    flows) [ "$2" = top ] && most_flows || { flows -L "$2" | head -n 1 | grep -q '^udp ' && echo present || echo absent; } ;;
  esac
}

# All entries to one destination: ADDRESS,PORT
flows() { # VERB NAME
  conntrack "$1" -f ipv4 -p udp --orig-dst "${2%,*}" --dport "${2#*,}" 2>/dev/null
}

# Which destination has the most entries: address,port,its entries,all UDP entries; or `absent`.
most_flows() {
  conntrack -L -f ipv4 -p udp 2>/dev/null | awk '
    { d = p = ""
      for (i = 4; i <= NF && (d == "" || p == ""); i++) {
        if (d == "" && $i ~ /^dst=/) d = substr($i, 5)
        if (p == "" && $i ~ /^dport=/) p = substr($i, 7)
      }
      n[d "," p]++ }
    END { for (k in n) if (n[k] > most) { most = n[k]; top = k }
          print most ? top "," most "," NR : "absent" }'
}

# Which process has this name: its id and when it was started (ids are given anew), or `absent`. Only of this machine's
# own: in a lab of namespaces others of the same name are elsewhere.
process() {
  wanted=$1
  for stat in /proc/[0-9]*/stat; do
    line=$(cat "$stat" 2>/dev/null) || continue
    case $line in *"($wanted) "*) ;; *) continue ;; esac
    pid=${line%% *}
    [ "$(readlink "/proc/$pid/ns/net" 2>/dev/null | tr -dc 0-9)" = "$netns" ] || continue
    # shellcheck disable=SC2086 # split on purpose: the start is the 20th word after the name
    set -- ${line##*) }
    case $1 in Z | X) continue ;; esac
    shift 19
    echo "$pid:$1"
    return
  done
  echo absent
}

# The whole feature set, since switching one feature changes others: name=on,name=off,… without what cannot be changed.
features() {
  ethtool -k "$1" 2>/dev/null | awk '/\[fixed\]/ || !/: (on|off)/ { next }
    { sub(/:/, "", $1); list = list sep $1 "=" $2; sep = "," } END { print list == "" ? "unreadable" : list }'
}

# Exactly one entry: all of its tuple and where it leads. NAME is src,sport,dst,dport,reply-src
entry() {
  verb=$1
  old=$IFS
  IFS=,
  # shellcheck disable=SC2086 # split at commas on purpose
  set -- $2
  IFS=$old
  case $1 in *:*) family=ipv6 ;; *) family=ipv4 ;; esac
  conntrack "$verb" -f "$family" -p udp --orig-src "$1" --sport "$2" --orig-dst "$3" --dport "$4" --reply-src "$5" 2>/dev/null
}

gone() { [ "$1" = conntrack ] && [ "$2" = absent ]; } # KIND CURRENT

reached() { # KIND NAME WANTED: does the current value have what is wanted?
  now=$(current "$1" "$2")
  [ "$1" != process ] || { [ "$now" != absent ] && [ "not:$now" != "$3" ]; return; }
  [ "$1" = offload ] || { [ "$now" = "$3" ]; return; }
  for pair in $(echo "$3" | tr , ' '); do
    case ,$now, in *",$pair,"*) ;; *) return 1 ;; esac
  done
}

put() { # KIND NAME VALUE
  case $1 in
    sysctl) echo "$3" 2>/dev/null >"/proc/sys/$(echo "$2" | tr . /)" ;;
    conntrack) entry -D "$2" >/dev/null ;;
    flows) flows -D "$2" >/dev/null ;;
    process)
      old=${3#not:}
      # KILL: a process that was stopped hears nothing else.
      [ "$(process "$2")" != "$old" ] || kill -KILL "${old%%:*}" 2>/dev/null
      for _ in 1 2 3 4 5 6 7 8; do
        reached process "$2" "$3" && break || sleep 1
      done
      # Its supervisor may wait long after an earlier crash: to be asked again, and not a refusal.
      reached process "$2" "$3" || { echo "busy $2 was not started again yet"; exit 4; }
      ;;
    offload)
      # Features depend on each other, so one pass may not do; names are those that `ethtool -K` takes.
      for _ in 1 2 3; do
        now=,$(features "$2"),
        words=
        for pair in $(echo "$3" | tr , ' '); do
          case $now in *",$pair,"*) continue ;; esac
          feature=${pair%=*}
          case $feature in
            tx-checksumming | scatter-gather | tcp-segmentation-offload) continue ;; # sums of the features below them
            rx-checksumming) feature=rx ;; generic-segmentation-offload) feature=gso ;; generic-receive-offload) feature=gro ;;
            large-receive-offload) feature=lro ;; rx-vlan-offload) feature=rxvlan ;; tx-vlan-offload) feature=txvlan ;;
            ntuple-filters) feature=ntuple ;; receive-hashing) feature=rxhash ;;
          esac
          words="$words $feature ${pair#*=}"
        done
        [ -n "$words" ] || return 0
        # shellcheck disable=SC2086 # words of our own making
        ethtool -K "$2" $words >/dev/null 2>&1
      done
      ;;
  esac
}

# --- the journal ----------------------------------------------------------------------------------------------------

state() { cat "$dir/state" 2>/dev/null || echo none; }
note() { echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) $*" >>"$dir/journal"; }
become() { echo "$1" >"$dir/state.new" && mv "$dir/state.new" "$dir/state" && note "$1"; }
mine() { [ "$(cat "$dir/token" 2>/dev/null)" = "$1" ] || refuse "this change is held by another run"; }
release() { [ "$(cat "$owner" 2>/dev/null)" = "$id" ] && rm -f "$owner"; true; }

start_timer() {
  if [ -d /run/systemd/system ] && [ "$netns" = "$(readlink /proc/1/ns/net | tr -dc 0-9)" ] &&
    systemd-run --quiet --collect --unit="undrop-$id" --timer-property=AccuracySec=1s --on-active="$1" \
      sh "$dir/guard.sh" expire "$id" 9>&-; then
    echo systemd >"$dir/timer"
  else
    # A session of its own: it outlives the shell, the connection and the worker that started it.
    setsid sh -c 'sh "$1/guard.sh" leave-container $$; echo $$ >"$1/timer"; sleep "$2"; exec sh "$1/guard.sh" expire "$3"' \
      guard "$dir" "$1" "$id" \
      </dev/null >/dev/null 2>&1 9>&- &
    for _ in 1 2 3 4 5 6 7 8 9 10; do [ -s "$dir/timer" ] && break || sleep 0.05; done
  fi
  [ -s "$dir/timer" ]
}

stop_timer() {
  timer=$(cat "$dir/timer" 2>/dev/null)
  case $timer in
    systemd) systemctl stop "undrop-$id.timer" 2>/dev/null ;;
    [0-9]*) grep -q "$id" "/proc/$timer/cmdline" 2>/dev/null && kill -KILL "-$timer" 2>/dev/null ;;
  esac
  true
}

arm() { # TOKEN SECONDS KIND NAME BEFORE AFTER …
  token=$1
  seconds=$2
  shift 2
  case $(state) in
    armed) mine "$token"; echo "armed $(cat "$dir/deadline")"; return ;;
    none) ;;
    *) refuse "this change is already $(state)" ;;
  esac
  # Who was killed just before letting go holds nothing any more, nor does who is gone with its namespace. A change
  # whose timer was killed too is put back now.
  holder=$(cat "$owner" 2>/dev/null)
  if [ "$(cat "$home/$holder/state" 2>/dev/null)" = armed ]; then
    [ "$(cat "$home/$holder/until" 2>/dev/null || echo 0)" -lt "$(date +%s)" ] ||
      refuse "the change $holder is not finished on this node; it reverts by itself at $(cat "$home/$holder/deadline")"
    (id=$holder dir=$home/$holder; note 'its time was over and its timer gone'; restore; release) >/dev/null
  fi
  : >"$dir/ops"
  left=
  drift=
  while [ $# -ge 4 ]; do
    now=$(current "$1" "$2")
    [ "$now" != unreadable ] || refuse "$1 $2 cannot be read on this node"
    # Of several entries some may have gone by themselves meanwhile, which is what was wanted. Any other difference voids
    # the plan, and so does having nothing left to do.
    if [ "$now" = "$3" ]; then left=yes; else drift="drift: $1 $2 is $now, the plan says $3"; fi
    [ "$now" = "$3" ] || gone "$1" "$now" || refuse "$drift"
    printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" >>"$dir/ops"
    shift 4
  done
  [ -n "$left" ] || refuse "$drift"
  echo "$token" >"$dir/token"
  echo "$netns" >"$dir/netns"
  until=$(($(date +%s) + seconds))
  echo "$until" >"$dir/until"
  date -u -d "@$until" +%Y-%m-%dT%H:%M:%SZ >"$dir/deadline"
  # An attempt that was killed halfway may have left one that would fire too early.
  stop_timer
  start_timer "$seconds" || refuse "no timer can be started on this node, so nothing was changed"
  echo "$id" >"$owner"
  become armed
  echo "armed $(cat "$dir/deadline")"
}

operation() { # INDEX: sets kind name before after
  line=$(sed -n "$(($1 + 1))p" "$dir/ops")
  [ -n "$line" ] || refuse "there is no operation $1"
  kind=$(echo "$line" | cut -f1)
  name=$(echo "$line" | cut -f2)
  before=$(echo "$line" | cut -f3)
  after=$(echo "$line" | cut -f4)
}

apply() { # TOKEN INDEX
  [ "$(state)" = armed ] || refuse "the change is $(state), not armed"
  mine "$1"
  operation "$2"
  if [ -e "$dir/done.$2" ]; then
    echo "already $2 $(current "$kind" "$name")"
    return
  fi
  # An attempt that died in between has left `doing`: then the value itself says whether it was set.
  if ! { [ -e "$dir/doing.$2" ] && reached "$kind" "$name" "$after"; }; then
    now=$(current "$kind" "$name")
    [ -e "$dir/doing.$2" ] || [ "$now" = "$before" ] || gone "$kind" "$now" || refuse "drift: $kind $name is $now, the plan says $before"
    : >"$dir/doing.$2"
    note "apply $2 $kind $name"
    put "$kind" "$name" "$after"
  fi
  reached "$kind" "$name" "$after" || refuse "$kind $name was set to $after and reads $(current "$kind" "$name")"
  current "$kind" "$name" >"$dir/done.$2"
  echo "applied $2 $(current "$kind" "$name")"
}

restore() { # puts every touched value back, last one first; somebody else's value is left alone
  worst=reverted
  index=$(($(wc -l <"$dir/ops") - 1))
  while [ $index -ge 0 ]; do
    operation $index
    if [ -e "$dir/doing.$index" ]; then
      now=$(current "$kind" "$name")
      if [ "$kind" = conntrack ] || [ "$kind" = process ] || [ "$kind" = flows ]; then
        echo "irreversible $index $name"
      elif [ "$now" = "$before" ]; then
        echo "equal $index $now"
      elif [ -e "$dir/done.$index" ] && [ "$now" != "$(cat "$dir/done.$index")" ]; then
        worst=conflict
        echo "conflict $index $now"
      else
        put "$kind" "$name" "$before"
        now=$(current "$kind" "$name")
        if [ "$now" = "$before" ]; then echo "restored $index $now"; else worst=stuck && echo "stuck $index $now"; fi
      fi
    else
      echo "untouched $index"
    fi
    index=$((index - 1))
  done >"$dir/result"
  cat "$dir/result"
  grep -q '^conflict' "$dir/result" && worst=conflict
  grep -q '^stuck' "$dir/result" && worst=stuck
  become "$worst"
}

# --- what is asked for ----------------------------------------------------------------------------------------------

# Started from a pod, a process dies with the pod's cgroup. This moves it into that of the node's own first process.
# What it needs of the pod's files stays mounted for it.
leave_container() { # PID
  [ "$(readlink /proc/1/ns/mnt)" != "$(readlink /proc/self/ns/mnt)" ] || return 0
  # shellcheck disable=SC2016 # the inner shell's own
  nsenter -t 1 -m sh -c '
    while IFS=: read -r _ kinds path; do
      for folder in "/sys/fs/cgroup/${kinds#name=}" /sys/fs/cgroup/unified /sys/fs/cgroup; do
        [ -e "$folder$path/cgroup.procs" ] || continue
        echo "$1" >"$folder$path/cgroup.procs"
        break
      done
    done </proc/1/cgroup' sh "$1" 2>/dev/null
}

verb=$1
shift
if [ "$verb" = leave-container ]; then
  leave_container "$1"
  exit 0
fi
if [ "$verb" = list ]; then
  for file in "$home"/*/state; do
    [ -e "$file" ] || continue
    dir=${file%/state}
    echo "change ${dir##*/} $(cat "$file") $(cat "$dir/deadline" 2>/dev/null)"
  done
  exit 0
fi
if [ "$verb" = read ]; then
  while [ $# -ge 2 ]; do
    # Some settings of the whole kernel can be read in every network namespace and set in the first one only.
    bound=
    file=/proc/sys/$(echo "$2" | tr . /)
    [ "$1" != sysctl ] || [ ! -e "$file" ] || [ -w "$file" ] || bound='readonly '
    echo "value $bound$(current "$1" "$2")"
    shift 2
  done
  exit 0
fi

id=$1
shift
case $id in '' | [!A-Za-z0-9]* | *[!A-Za-z0-9.-]*) refuse "\"$id\" is no name of a change" ;; esac
dir=$home/$id
command -v flock >/dev/null 2>&1 || refuse "flock is missing on this node (package util-linux), so changes cannot be made safely"
exec 9>"$lock"
# The timer waits as long as it takes: nobody would put the values back after it.
case $verb in expire) patience= ;; *) patience='-w 5' ;; esac
# shellcheck disable=SC2086 # two words or none
flock $patience 9 || {
  # Not ours to clean up then: that other command may be just arming this very change.
  echo "busy another command of undrop holds this node's lock"
  exit 4
}
# A name is given anew after a boot or when a namespace is made anew; its journal is of the old one.
[ "$(cat "$dir/netns" 2>/dev/null || echo "$netns")" = "$netns" ] || refuse "this change is of another network namespace"
case $verb in
  arm)
    find "$home" -mindepth 1 -maxdepth 1 -type d -mtime +$keep_days ! -exec grep -qxE 'armed|confirmed|conflict|stuck' '{}/state' ';' -exec rm -rf '{}' + 2>/dev/null
    arm "$@"
    ;;
  apply)
    index=$2
    # Each prints a line; one that is refused ends the call, and what was done before it stays in the journal.
    while [ "$index" -le "${3:-$2}" ]; do
      apply "$1" "$index"
      index=$((index + 1))
    done
    ;;
  confirm)
    case $(state) in
      confirmed) ;;
      armed) mine "$1"; become confirmed ;;
      *) refuse "the change is $(state)" ;;
    esac
    # Last: who is killed before this point leaves a timer that reverts, or that finds nothing to do.
    stop_timer
    release
    echo confirmed
    ;;
  revert | rollback | expire)
    case $verb-$(state) in
      expire-armed)
        note "the timer reverts: nobody confirmed in time"
        restore
        release
        ;;
      expire-*) ;;
      *-armed | rollback-confirmed)
        mine "$1"
        restore
        stop_timer
        release
        ;;
      *-reverted | *-conflict | *-stuck) cat "$dir/result" ;;
      *-none) ;; # never armed: nothing was changed
      *) refuse "the change is $(state)" ;;
    esac
    echo "state $(state)"
    forget
    ;;
  status)
    echo "state $(state)"
    [ -e "$dir/deadline" ] && echo "deadline $(cat "$dir/deadline")"
    [ -e "$dir/journal" ] && sed 's/^/journal /' "$dir/journal"
    forget
    ;;
  *) refuse "unknown word $verb" ;;
esac
