#!/usr/bin/env bash
# The netfilter half of l7egg: rules that hand to user space what eBPF could not decide. `l7egg run` calls this script; it also
# serves by hand (`--dry-run` shows what it would do).
#
#   iptables-setup.sh up     --lan IF [--lan IF]... --eface IF [options]    a LAN behind this box
#   iptables-setup.sh up     --eface IF [--iface IF] [options]              this box's own egress
#   iptables-setup.sh down   [--name INSTANCE]
#   iptables-setup.sh status [--name INSTANCE]
#
#   --lan IF           interface of a governed LAN; repeatable, or a comma list
#   --eface IF         interface by which traffic leaves
#   --iface IF         interface by which this box's own DNS answers come in; default: eface
#   --own              govern this box's own egress too; the default when there is no --lan
#   --queues A[:B]     NFQUEUE number; of a range, DNS goes to the first and the flows are spread over the others; default 0
#   --mark-mask M      two neighbouring bits of the packet mark; default 0x30. All other bits are left as they are
#   --mode nfqueue     the only one so far
#   --fail-mode MODE   closed (default): nobody listens on the queue = drop; open: = pass (--queue-bypass)
#   --fast             forwarded flows may skip netfilter (eBPF sends them on): conntrack sees none of them, and must not guess
#   --answers          DNS answers that eBPF confirms (pinned program `answer`) don't go to the queue
#   --quic-ports P,... UDP ports (A or A:B) where QUIC's names decide: there no conntrack entry speaks for a packet that user space must see
#   --masquerade       hide the LANs behind eface's address, IPv4 and IPv6
#   --name INSTANCE    1-15 of a-z 0-9 -; default "default". It ends the names of the chains: L7EGG-FWD-default
#   --pin-dir DIR      where the eBPF programs are pinned: DIR/INSTANCE/output, past, answer; default /sys/fs/bpf/l7egg
#   --dry-run          print what would be given to iptables-restore, change nothing
#   IPTABLES=PROGRAM   which iptables: iptables (default), iptables-nft or iptables-legacy
#
# Exit codes: 0 done / up; 1 status: not up, or only partly; 2 bad input or no way to do it: one line says why, nothing is changed.
#
# The path of a packet, and why these rules:
#  - eBPF at TC ingress of the LAN has already decided: allowed packets carry ALLOW (mask bits 11), denied ones are gone, those that
#    user space must judge carry INSPECT (01). Only INSPECT goes to the queue. The verdict comes back with a new mark, and the gate at
#    TC egress of eface lets nothing out that isn't marked: without these rules the firewall is closed, not open.
#  - All of it is in `mangle`, not in `filter`: an accepted packet comes back from the queue at the *next hook function*. In `filter` it would
#    jump over the user's later rules; from `mangle` it goes on into the whole of the user's `filter`.
#  - Replies of connections that were opened from outside (ssh to a server in the LAN) are allowed by conntrack direction; so are ICMP errors
#    that belong to a known connection.
#  - But not on QUIC's ports: a server's late packet (behind conntrack's memory, or while flows skip netfilter) looks like the beginning of a connection from outside,
#    and the client's next Initial, whatever it names, like the reply.
#  - With --fast, conntrack must not take a packet amid a connection that skips netfilter for the beginning of another: of one from outside, or what
#    the client says next would be a "reply"; nor of one from the client (the pinned program `past` knows the flows).
#  - The conntrack match switches on nf_defrag: fragments are put together before they come to these hooks, and no name can hide between two.
#  - DNS: answers on their way to a governed client (sport 53) wait in the queue until the kernel's maps hold the addresses they name. (With --answers, those of which the maps hold every address already pass.) With a resolver
#    on this box the queries come by INPUT and the answers leave by OUTPUT. What the gateway itself sends (a refusal) carries ALLOW and isn't asked again.
#  - A resolver may also be reached otherwise than by eface (another LAN, a third network, own egress with --iface): then the questions are no egress and carry
#    no mark, but user space must have seen them to know the answers. (In OUTPUT it tells them from egress by INSPECT.)
#  - Several queues: the hash of --queue-balance is of both addresses in either order and (IPv4) the protocol (include/net/netfilter/nf_queue.h), so
#    a flow's packets meet one listener, which holds its segments; ports play no part, so all flows between two hosts meet the same one.
#  - Own egress: OUTPUT asks the same classifier, pinned as a socket filter (`-m bpf`). iptables-legacy opens that path again whenever anybody
#    changes the table: take the rules down before the pin. POSTROUTING asks it once more, about what nobody has decided: a device that has just
#    come back under eface's name has no gate, and then this is the last place where a denied packet can be held. The mark INSPECT, which the packet
#    carries only for that question, says which of the two is meant.
#  - One table of one family changes in one step (iptables-restore --noflush). The jumps stand first in the built-in chains.
set -euo pipefail
# `su` without a dash leaves these out.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

lans=() eface='' iface='' own='' fast='' answers='' quic_ports=() queues=0 mask_text=0x30 fail_mode=closed masquerade='' name=default pin_dir=/sys/fs/bpf/l7egg dry_run=''
iptables=${IPTABLES:-iptables}
tables=(raw mangle nat)
# Rules by family and table, "4-mangle"; what is not there is to be removed.
declare -A wanted=()
# nft or legacy, by program: iptables and ip6tables are two alternatives, which may differ.
declare -A kinds=()
# Our chains by table, and where each is called from.
declare -A own_chains=() hook_of=()
# What is to be done, step by step: "PROGRAM FAMILY TABLE"; what its iptables-restore is given; what stood in our chains before.
steps=() plans=() previous=()
lock_file=/run/l7egg-iptables.lock lock_seconds=20

main() {
  local verb=${1-}
  case $verb in
    up | down | status) shift ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" && exit 0 ;;
    '') refuse "say what to do: up, down or status (--help explains)" ;;
    *) refuse "unknown command ${verb@Q}: up, down or status" ;;
  esac
  parse_options "$@"
  check_programs
  [ "$verb" != up ] || check_up_options
  if [ -z "$dry_run" ] && command -v flock >/dev/null; then take_lock; fi
  "cmd_$verb"
}

cmd_up() {
  local family
  for family in "${families[@]}"; do
    wanted[$family-raw]=$(rules_raw)
    wanted[$family-mangle]=$(rules_mangle "$family")
    wanted[$family-nat]=$(rules_nat "$family")
  done
  apply
}

cmd_down() { apply; }

# Every chain must be in every family, hold rules, and have one jump, which no rule takes packets past. A gateway asks often: each table is
# read once, and no line of it costs a process.
cmd_status() {
  local family table chain hook line lines filled jumps right before found='' problems=()
  # By family and table: all of it, and of it the lines that name us or a built-in chain, for a neighbour may have thousands. By family, table and chain:
  # is it there?
  local -A text=() ours=() declared=()
  for family in "${families[@]}"; do
    for table in "${tables[@]}"; do
      read_table "$family" "$table"
      text[$family-$table]=$REPLY
      mapfile -t lines <<<"$REPLY"
      for line in "${lines[@]}"; do
        case $line in
          :*) line=${line#:} && declared[$family-$table-${line%% *}]=1 ;;
          *L7EGG-* | '-A '[FIOP]*) ours[$family-$table]+=$line$'\n' ;;
        esac
      done
    done
  done
  for family in "${families[@]}"; do
    for table in "${tables[@]}"; do
      mapfile -t lines <<<"${ours[$family-$table]-}"
      for chain in ${own_chains[$table]}; do
        hook=${hook_of[$chain]} filled='' jumps=0 right='' before=()
        for line in "${lines[@]}"; do
          case $line in
            "-A $chain "*) filled=1 ;;
            *-[jg]" $chain")
              jumps=$((jumps + 1))
              [ "$line" != "-A $hook -j $chain" ] || right=1
              ;;
            "-A $hook "*)
              [ -n "$right" ] || before+=("$line")
              continue
              ;;
            *) continue ;;
          esac
          echo "IPv$family $table: $line"
        done
        if [ -n "${declared[$family-$table-$chain]-}" ]; then
          found=1
          [ -n "$filled" ] || problems+=("IPv$family: chain $chain is empty")
          if [ -z "$right" ]; then
            problems+=("IPv$family: no jump to $chain")
          else
            [ $jumps = 1 ] || problems+=("IPv$family: $jumps rules jump to $chain, it should be one")
            [ "$table" = nat ] || check_before
          fi
        elif [ "$table" != nat ] && [ -n "${declared[$((10 - family))-$table-$chain]-}" ]; then
          problems+=("IPv$family: chain $chain is missing")
        fi
      done
    done
  done
  [ -n "$found" ] || { echo "instance $name: not up" && exit 1; }
  [ ${#problems[@]} = 0 ] || { printf '%s\n' "${problems[@]}" "instance $name: partly up" && exit 1; }
  echo "instance $name: up"
}

# Of the rules `before` our jump, the first that can take a packet past it. Marks, counters, logs and drops don't; nor do other instances. Other people's
# chains do if they hold, or call, an accept. (In nat such a rule is somebody's exception from masquerading: nothing goes unjudged by it.)
check_before() {
  local rule
  local -A seen=()
  for rule in ${before[@]+"${before[@]}"}; do
    target_of "$rule"
    case $REPLY in
      '-j ACCEPT' | '-j RETURN' | '-j NFQUEUE' | '-j QUEUE' | '-g '*) ;;
      "-j ${chain%"$name"}"*) continue ;;
      '-j '*) accepts "${REPLY#-j }" || continue ;;
      *) continue ;;
    esac
    problems+=("IPv$family: packets can get past $chain by a rule that stands before its jump: $rule")
    return
  done
}

# Whether $1 is a chain of this table that takes packets away from those who called it.
accepts() {
  local rule rules
  [ -n "${declared[$family-$table-$1]-}" ] && [ -z "${seen[$1]-}" ] || return 1
  seen[$1]=1
  mapfile -t rules <<<"${text[$family-$table]}"
  for rule in "${rules[@]}"; do
    [[ $rule == "-A $1 "* ]] || continue
    target_of "$rule"
    case $REPLY in
      '-j ACCEPT' | '-j NFQUEUE' | '-j QUEUE') return 0 ;;
      '-'[jg]' '*) ! accepts "${REPLY#-? }" || return 0 ;;
    esac
  done
  return 1
}

# "-j ACCEPT", "-g CHAIN", or nothing. What stands in quotes (comments, prefixes of logs) may look like anything.
target_of() {
  local rule=$1 quoted='"([^"\]|\\.)*"' target=' (-[jg] [^ ]+)'
  while [[ $rule =~ $quoted ]]; do rule=${rule/"${BASH_REMATCH[0]}"/}; done
  REPLY=''
  [[ ! $rule =~ $target ]] || REPLY=${BASH_REMATCH[1]}
}

# --- the rules (in the very form in which iptables-save prints them) --------------------------------------------------

# Connections that conntrack must not know, or what looks like their replies would be let out as such. What the gateway itself answers to a
# denied DNS question comes from the resolver's address: tracked, it would turn the client's next question into a "reply". And so would a packet
# that one LAN host sends to another in a server's name. Allowed packets (marked) are not asked where they come from.
rules_raw() {
  local lan
  for lan in ${lans[@]+"${lans[@]}"}; do
    [ -z "$fast" ] || echo "-A $pre -i $lan -m mark --mark $inspect/$mask -m bpf --object-pinned $pin_dir/$name/past -j CT --notrack"
    echo "-A $pre -i $lan -m mark --mark 0x0/$mask -m rpfilter --invert -j CT --notrack"
  done
  echo "-A $own_dns -p udp -m udp --sport 53 -m mark --mark $allow/$mask -j CT --notrack"
}

rules_mangle() {
  local family=$1 lan proto port icmp=icmp
  [ "$family" = 4 ] || icmp=ipv6-icmp
  local to_allow="-j MARK --set-xmark $allow/$mask" is_inspect="-m mark --mark $inspect/$mask" not_allowed="-m mark ! --mark $allow/$mask"
  local reply="-m conntrack --ctstate ESTABLISHED --ctdir REPLY" related="-m conntrack --ctstate RELATED"
  # What is decided has nothing to ask here: both of its verdicts have the upper bit of the mask.
  [ ${#lans[@]} = 0 ] || echo "-A $fwd -o $eface -m mark --mark $upper/$upper -j RETURN"
  local confirmed=''
  if [ -n "$answers" ]; then
    confirmed="-m bpf --object-pinned $pin_dir/$name/answer -j RETURN"
    # Without it answers only take longer.
    if [ -z "$dry_run" ] && ! extension_works "$family" mangle "$confirmed"; then
      echo "iptables-setup: $(program "$family") or this kernel lacks the match bpf: every DNS answer goes to the queue" >&2
      confirmed=''
    fi
  fi
  for lan in ${lans[@]+"${lans[@]}"}; do
    [ -z "$confirmed" ] || echo "-A $fwd -i $eface -o $lan -p udp -m udp --sport 53 $confirmed"
  done
  # No mark at all: it went around eBPF. An interface that has just come back is known here by its name before the gateway has seen it; a route
  # may depend on what eBPF can't know. User space judges it like what eBPF sends there.
  for lan in ${lans[@]+"${lans[@]}"}; do
    echo "-A $fwd -i $lan -o $eface -m mark --mark 0x0/$mask -j MARK --set-xmark $inspect/$mask"
  done
  # The first queue is the one that knows of DNS questions and answers. The others take flows, all packets of one the same queue.
  local first="-j NFQUEUE --queue-num $queue_low" others
  case $((queue_high - queue_low)) in
    0) others=$first ;;
    1) others="-j NFQUEUE --queue-num $queue_high" ;;
    *) others="-j NFQUEUE --queue-balance $((queue_low + 1)):$queue_high" ;;
  esac
  if [ "$fail_mode" = open ]; then first+=" --queue-bypass" others+=" --queue-bypass"; fi

  for lan in ${lans[@]+"${lans[@]}"}; do
    [ -z "$fast" ] || echo "-A $fwd -i $eface -o $lan -p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -m conntrack --ctstate NEW -j DROP"
    for port in ${quic_ports[@]+"${quic_ports[@]}"}; do
      echo "-A $fwd -i $lan -o $eface -p udp -m udp --dport $port $is_inspect $others"
    done
    echo "-A $fwd -i $lan -o $eface $is_inspect $reply $to_allow"
    echo "-A $fwd -i $lan -o $eface -p $icmp $is_inspect $related $to_allow"
    if [ "$first" != "$others" ]; then
      for proto in udp tcp; do echo "-A $fwd -i $lan -o $eface -p $proto -m $proto --dport 53 $is_inspect $first"; done
    fi
    echo "-A $fwd -i $lan -o $eface $is_inspect $others"
    # A DNAT rule has taken it elsewhere since eBPF asked for its route: no egress.
    echo "-A $fwd -i $lan ! -o $eface $is_inspect -j MARK --set-xmark 0x0/$mask"
    for proto in udp tcp; do
      echo "-A $fwd -o $lan -p $proto -m $proto --sport 53 $first"
      echo "-A $fwd -i $lan ! -o $eface -p $proto -m $proto --dport 53 $first"
      echo "-A $in -i $lan -p $proto -m $proto --dport 53 $first"
      echo "-A $out -o $lan -p $proto -m $proto --sport 53 $not_allowed $first"
    done
  done
  [ -n "$own" ] || return 0
  for port in ${quic_ports[@]+"${quic_ports[@]}"}; do
    echo "-A $out -o $eface -p udp -m udp --dport $port $not_allowed -m bpf --object-pinned $pin_dir/$name/output $others"
    # What need not be seen there is the gate's.
    echo "-A $out -o $eface -p udp -m udp --dport $port -j RETURN"
  done
  echo "-A $out -o $eface $reply $to_allow"
  echo "-A $out -o $eface -p $icmp $related $to_allow"
  if [ "$first" != "$others" ]; then
    for proto in udp tcp; do
      echo "-A $out -o $eface -p $proto -m $proto --dport 53 $not_allowed -m bpf --object-pinned $pin_dir/$name/output $first"
    done
  fi
  echo "-A $out -o $eface $not_allowed -m bpf --object-pinned $pin_dir/$name/output $others"
  for proto in udp tcp; do
    echo "-A $in -i $iface -p $proto -m $proto --sport 53 $first"
    [ "$iface" != "$eface" ] || continue
    echo "-A $out -o $iface -p $proto -m $proto --dport 53 $not_allowed -j MARK --set-xmark $inspect/$mask"
    echo "-A $out -o $iface -p $proto -m $proto --dport 53 $is_inspect $first"
  done
  # Undecided is NONE, or INSPECT where what went to another network's resolver was sent here after all. Either way the gate judges it itself.
  echo "-A $post -o $eface -m mark --mark 0x0/$mask -j MARK --set-xmark $inspect/$mask"
  echo "-A $post -o $eface $is_inspect -m bpf --object-pinned $pin_dir/$name/output -j DROP"
  echo "-A $post -o $eface $is_inspect -j MARK --set-xmark 0x0/$mask"
}

rules_nat() {
  [ -n "$masquerade" ] || return 0
  if [ "$1" = 6 ] && [ -z "$dry_run" ] && ! extension_works 6 nat "-j MASQUERADE"; then
    echo "iptables-setup: IPv6 NAT is not available here: IPv6 leaves with the clients' own addresses" >&2
    return 0
  fi
  echo "-A $nat -o $eface -j MASQUERADE"
}

# --- carrying out -----------------------------------------------------------------------------------------------------

# What iptables-restore must do so that exactly the rules $3 stand in our chains of this table, and nothing of ours if there are none.
transaction() {
  local family=$1 table=$2 rules=$3 text chain have want body=''
  text=$(save "$family" "$table" "$rules") || exit
  for chain in ${own_chains[$table]}; do
    have='' want=''
    ! grep -q "^:$chain " <<<"$text" || have=1
    ! grep -q "^-A $chain " <<<"$rules" || want=1
    [ -n "$have$want" ] || continue
    # Declaring a chain makes it, or empties it.
    body+=":$chain - [0:0]"$'\n'
    body+=$(grep -E -- "^-A .*-[jg] $chain\$" <<<"$text" | sed 's/^-A/-D/')$'\n'
    if [ -n "$want" ]; then
      body+="-I ${hook_of[$chain]} 1 -j $chain"$'\n'
      body+=$(grep "^-A $chain " <<<"$rules")$'\n'
    else
      body+="-X $chain"$'\n'
    fi
  done
  [ -z "$body" ] || printf '*%s\n%sCOMMIT\n' "$table" "$(sed '/^$/d' <<<"$body")"$'\n'
}

# Brings all families and tables to `wanted`, and the other kind of iptables to nothing of ours. All is read and tried out first; if the
# kernel refuses a step later, those before it are put back.
apply() {
  local program family table i output
  for family in "${families[@]}"; do
    for table in "${tables[@]}"; do plan "$family" "$table" "${wanted[$family-$table]-}"; done
  done
  plan_elsewhere
  for i in ${plans[@]+"${!plans[@]}"}; do
    read -r iptables family table <<<"${steps[i]}"
    if [ -n "$dry_run" ]; then
      printf '# %s --noflush\n%s\n' "$(program "$family" -restore)" "${plans[i]}"
    else
      output=$(restore "$family" --test <<<"${plans[i]}" 2>&1) || explain "$family" "$table" "${plans[i]}" "$output"
    fi
  done
  [ -z "$dry_run" ] || return 0
  # A Ctrl-C must not leave one half: from here it is all or nothing. (What is ignored here, iptables-restore ignores, too.)
  trap '' HUP INT TERM
  for i in ${plans[@]+"${!plans[@]}"}; do
    read -r iptables family table <<<"${steps[i]}"
    if ! output=$(restore "$family" <<<"${plans[i]}" 2>&1); then
      put_back "$i"
      explain "$family" "$table" "${plans[i]}" "$output"
    fi
  done
  trap - HUP INT TERM
}

# Adds what must be done in one table, if anything must.
plan() {
  local family=$1 table=$2 text before chain
  text=$(transaction "$family" "$table" "$3")
  [ -n "$text" ] || return 0
  before=$(save "$family" "$table" "$3")
  steps+=("$iptables $family $table") plans+=("$text")
  previous+=("$(for chain in ${own_chains[$table]}; do grep "^-A $chain " <<<"$before" || true; done)")
}

# The other kind of iptables (nft, legacy), if it is installed: whoever changed from one to the other must not be asked twice.
plan_elsewhere() {
  local other family table mine=$iptables
  [ "${mine##*/}" = "$mine" ] || return 0
  for family in "${families[@]}"; do
    other=nft
    [ "${kinds[$(program "$family")]}" != nft ] || other=legacy
    iptables=iptables-$other
    if command -v "$(program "$family" -save)" >/dev/null && command -v "$(program "$family" -restore)" >/dev/null; then
      kinds[$(program "$family")]=$other
      for table in "${tables[@]}"; do ! in_kernel "$family" || plan "$family" "$table" ''; done
    fi
    iptables=$mine
  done
}

# A kernel without nf_tables has no rules there; any other complaint counts (see save). Legacy is never asked for a table that isn't loaded.
in_kernel() {
  local words
  [ "${kinds[$(program "$1")]}" = nft ] || return 0
  words=$("$(program "$1" -save)" -t mangle 2>&1 >/dev/null) && return 0
  [[ $words != *"Invalid argument"* && $words != *"not supported"* ]]
}

# The steps before $1, last first.
put_back() {
  local i iptables family table
  for ((i = $1 - 1; i >= 0; i--)); do
    read -r iptables family table <<<"${steps[i]}"
    transaction "$family" "$table" "${previous[i]}" | restore "$family" >/dev/null 2>&1 ||
      echo "iptables-setup: could not put back the rules of table $table in $(program "$family"): call this again, or 'down'" >&2
  done
}

# program 6 -restore: /sbin/iptables-nft -> /sbin/ip6tables-nft-restore
program() { name_program "$@" && echo "$REPLY"; }

name_program() {
  local base=${iptables##*/} folder=''
  [ "$base" = "$iptables" ] || folder=${iptables%/*}/
  [ "$1" = 4 ] || base=ip6tables${base#iptables}
  REPLY=$folder$base${2-}
}

# What stands in this table. $3: the rules that are to stand there, if any. A table that nobody has used yet has nothing of ours; asking legacy
# for it would load its module. What can't be seen is refused: `up` would set the jumps twice, `down` leave them behind.
save() { read_table "$@" && printf '%s\n' "$REPLY"; }

read_table() {
  local family=$1 table=$2 names=/proc/net/ip_tables_names program text words
  [ "$family" = 4 ] || names=/proc/net/ip6_tables_names
  name_program "$family"
  if [ "${kinds[$REPLY]}" = legacy ] && ! in_file $names "$table"; then
    REPLY=''
    return 0
  fi
  program=$REPLY-save
  if ! text=$(exec "$program" -t "$table" 2>/dev/null); then
    # Who isn't root may still see what an empty table would be given.
    REPLY=''
    [ -z "$dry_run" ] || return 0
    words=$("$program" -t "$table" 2>&1 >/dev/null | tail -n 1) || true
    refuse "$program can't show table $table, so what stands there is unknown: ${words:-it failed without a word}"
  fi
  # iptables-nft says "incompatible" with exit code 0, and older ones nothing at all of a table that isn't there.
  if ! holds_line "$text" "*$table" && { [ -n "$text" ] && [ -n "${3-}" ] || own_chain_stands "$family" "$table"; }; then
    refuse "$program can't show table $table: somebody's nftables rules in it are none that iptables knows; they belong into a table of another name (nft list table ip${family#4} $table)"
  fi
  REPLY=$text
}

in_file() {
  local line
  [ -r "$1" ] || return 1
  while read -r line; do [ "$line" != "$2" ] || return 0; done <"$1"
  return 1
}

holds_line() { [[ $'\n'$1$'\n' == *$'\n'"$2"$'\n'* ]]; }

# For a table that iptables-save can't show. A rule number that no chain has: nothing is deleted, but the complaint tells whether the chain is there.
own_chain_stands() {
  local chain
  for chain in ${own_chains[$2]}; do
    [[ $("$(program "$1")" -t "$2" -D "$chain" 1000000 2>&1) != *"too big"* ]] || return 0
  done
  return 1
}

restore() { "$(program "$1" -restore)" --noflush --wait=10 "${@:2}"; }

# Tries one rule in a chain that is gone when the transaction ends: the kernel judges it, and nothing stays.
extension_works() {
  local try=L7EGG-TRY-$$
  printf '*%s\n:%s - [0:0]\n-A %s %s\n-F %s\n-X %s\nCOMMIT\n' "$2" $try $try "$3" $try $try | restore "$1" >/dev/null 2>&1
}

# Why a transaction was refused: the extension that is missing, else iptables' own words.
explain() {
  local family=$1 table=$2 plan=$3 output=$4 missing=()
  tried() { [[ $plan != *"$2"* ]] || extension_works "$family" "$table" "$3" || missing+=("$1"); }
  tried "target NFQUEUE" "-j NFQUEUE" "-j NFQUEUE --queue-num 0"
  tried "target MARK" "-j MARK" "-j MARK --set-xmark 0x0/0x30"
  tried "match mark" "-m mark" "-m mark --mark 0x10/0x30"
  tried "match conntrack" "-m conntrack" "-m conntrack --ctstate ESTABLISHED --ctdir REPLY"
  tried "match bpf" "/output" "-m bpf --object-pinned $pin_dir/$name/output"
  tried "match bpf" "/past" "-m bpf --object-pinned $pin_dir/$name/past"
  tried "match rpfilter" "-m rpfilter" "-m rpfilter --invert"
  tried "target CT" "-j CT" "-j CT --notrack"
  tried "target MASQUERADE" "-j MASQUERADE" "-j MASQUERADE"
  if [ ${#missing[@]} -gt 0 ]; then
    local list
    list=$(printf ', %s' "${missing[@]}")
    refuse "$(program "$family") or this kernel lacks: ${list:2}"
  fi
  refuse "$(program "$family" -restore) refused the rules of table $table: $(head -n 1 <<<"$output")"
}

# Two calls for one instance must not read the same state and both act on it. The file holds the pid of who has the lock.
take_lock() {
  local holder
  { exec 9<>$lock_file; } 2>/dev/null || refuse "$lock_file can't be opened for writing: it keeps two calls apart"
  if ! flock -w $lock_seconds 9; then
    holder=$(head -c 20 $lock_file)
    [ -d "/proc/${holder:-none}" ] && holder="pid $holder" || holder="somebody (fuser $lock_file tells who)"
    refuse "$holder has held $lock_file for $lock_seconds s: wait for its end, or end it"
  fi
  echo $$ >$lock_file
}

# --- input ------------------------------------------------------------------------------------------------------------

parse_options() {
  local option value
  while [ $# -gt 0 ]; do
    option=$1 && shift
    case $option in
      --masquerade) masquerade=1 && continue ;;
      --own) own=1 && continue ;;
      --fast) fast=1 && continue ;;
      --answers) answers=1 && continue ;;
      --dry-run) dry_run=1 && continue ;;
      --*=*) value=${option#*=} option=${option%%=*} ;;
      --lan | --eface | --iface | --quic-ports | --queues | --mark-mask | --mode | --fail-mode | --name | --pin-dir)
        [ $# -gt 0 ] || refuse "$option needs a value"
        value=$1 && shift
        ;;
      *) refuse "unknown option ${option@Q} (--help lists them)" ;;
    esac
    # `read` would take the first line only, and a message must stay one line.
    [[ $value != *[[:cntrl:]]* ]] ||
      refuse "$option ${value@Q}: there is a line break or another control character in it$([ "$option" != --lan ] || echo "; several LANs: --lan A,B or --lan A --lan B")"
    case $option in
      --lan)
        # An empty variable must not turn a LAN's rules into those of this box.
        [ -n "$value" ] || refuse "--lan is empty"
        IFS=, read -r -a value <<<"$value" && lans+=("${value[@]}")
        ;;
      --eface) eface=$value ;;
      --iface) iface=$value ;;
      --quic-ports)
        [[ $value =~ ^[0-9]{1,5}(:[0-9]{1,5})?(,[0-9]{1,5}(:[0-9]{1,5})?)*$ ]] || refuse "bad --quic-ports '$value': A or A:B, with commas between"
        IFS=, read -r -a quic_ports <<<"$value"
        ;;
      --queues) queues=$value ;;
      --mark-mask) mask_text=$value ;;
      --mode) [ "$value" = nfqueue ] || refuse "unknown mode '$value': nfqueue is the only one" ;;
      --fail-mode)
        fail_mode=$value
        [ "$value" = closed ] || [ "$value" = open ] || refuse "unknown fail mode '$value': closed or open"
        ;;
      --name) name=$value ;;
      --pin-dir) pin_dir=${value%/} ;;
      *) refuse "unknown option ${option@Q} (--help lists them)" ;;
    esac
    value=''
  done
  [[ $name =~ ^[a-z0-9-]{1,15}$ ]] || refuse "bad instance name '$name': 1 to 15 of a-z, 0-9 and -"
  fwd=L7EGG-FWD-$name in=L7EGG-IN-$name out=L7EGG-OUT-$name post=L7EGG-POST-$name nat=L7EGG-NAT-$name pre=L7EGG-PRE-$name own_dns=L7EGG-DNS-$name
  own_chains=([raw]="$pre $own_dns" [mangle]="$fwd $in $out $post" [nat]="$nat")
  hook_of=([$fwd]=FORWARD [$in]=INPUT [$out]=OUTPUT [$post]=POSTROUTING [$nat]=POSTROUTING [$pre]=PREROUTING [$own_dns]=OUTPUT)
}

check_programs() {
  [ -n "$dry_run" ] || [ $EUID = 0 ] || refuse "this needs root: it changes the rules of iptables"
  # Bit 12 is CAP_NET_ADMIN, which a container's root may lack; iptables would then speak of missing extensions.
  local word capabilities=0
  while read -r word REPLY; do [ "$word" != CapEff: ] || capabilities=$REPLY; done </proc/self/status
  [ -n "$dry_run" ] || (((0x$capabilities >> 12) & 1)) ||
    refuse "this root may not change the network: it lacks CAP_NET_ADMIN (a container? give it this capability)"
  families=(4)
  # A kernel without IPv6 has nothing to guard there.
  [ ! -e /proc/net/if_inet6 ] || families+=(6)
  local family part
  for family in "${families[@]}"; do
    for part in '' -save -restore; do
      name_program "$family" "$part"
      command -v "$REPLY" >/dev/null || refuse "$REPLY is not installed (Debian, Ubuntu: apt-get install iptables)"
    done
    name_program "$family"
    kinds[$REPLY]=legacy
    [[ $(exec "$REPLY" --version 2>/dev/null) != *nf_tables* ]] || kinds[$REPLY]=nft
  done
}

check_up_options() {
  [ ${#lans[@]} -gt 0 ] || own=1
  [ -n "$eface" ] || refuse "--eface is missing: the interface by which traffic leaves"
  check_interface --eface "$eface"
  iface=${iface:-$eface}
  check_interface --iface "$iface"
  local lan seen=' '
  for lan in ${lans[@]+"${lans[@]}"}; do
    check_interface --lan "$lan"
    [ "$lan" != "$eface" ] || refuse "$lan can't be --lan and --eface at once"
    [[ $seen != *" $lan "* ]] || refuse "--lan $lan is given twice"
    seen+="$lan "
  done

  [[ $queues =~ ^([0-9]{1,5})(:([0-9]{1,5}))?$ ]] || refuse "bad queue '$queues': A or A:B, each 0 to 65535"
  queue_low=$((10#${BASH_REMATCH[1]})) queue_high=$((10#${BASH_REMATCH[3]:-${BASH_REMATCH[1]}}))
  [ $queue_low -le $queue_high ] && [ $queue_high -le 65535 ] || refuse "bad queue range '$queues': A:B, each 0 to 65535, A not above B"

  local shift value=-1
  if [[ $mask_text =~ ^0[xX][0-9a-fA-F]{1,8}$ ]]; then value=$((mask_text)); elif [[ $mask_text =~ ^[0-9]{1,10}$ ]]; then value=$((10#$mask_text)); fi
  for ((shift = 0; shift <= 30; shift++)); do [ $value -ne $((3 << shift)) ] || break; done
  [ $shift -le 30 ] || refuse "bad mark mask '$mask_text': two neighbouring bits are needed, such as 0x30"
  printf -v mask '0x%x' $value
  printf -v inspect '0x%x' $((1 << shift))
  printf -v allow '0x%x' $((3 << shift))
  printf -v upper '0x%x' $((2 << shift))

  [[ $pin_dir =~ ^/[A-Za-z0-9._/-]+$ ]] || refuse "bad --pin-dir '$pin_dir': an absolute path without blanks"
  local program
  for program in ${own:+output} ${fast:+past} ${answers:+answer}; do
    [ -n "$dry_run" ] || [ -e "$pin_dir/$name/$program" ] || refuse "no program is pinned at $pin_dir/$name/$program: 'l7egg run' does that first"
  done
}

# /proc/net, not /sys/class/net: the latter shows the network namespace it was mounted in, which may be another one.
check_interface() {
  [ -n "$2" ] || refuse "$1 is empty"
  [[ $2 =~ ^[A-Za-z0-9._@-]{1,15}$ ]] && grep -qE "^ *${2//./\\.}:" /proc/net/dev ||
    refuse "$1 $2: there is no such interface; there are $(sed -n 's/^ *\([^:|]*\):.*/\1/p' /proc/net/dev | paste -sd' ' | sed 's/ /, /g')"
}

refuse() { echo "iptables-setup: $*" >&2 && exit 2; }

main "$@"
