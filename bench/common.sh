# What the comparisons have in common; sourced by them. They set `all`, their scenarios, and
# define `up SYSTEM FLUSH`, `warm`, `down SYSTEM` and `cleanup`.

root=$(cd "$(dirname "$0")/.." && pwd)
steadfast=${STEADFAST:-$root/target/dist/steadfast}
peer=$root/bench/peer/rocketmq
out=${OUT:-$root/docs/performance.md}
rounds=${ROUNDS:-3}
measured=${SECONDS_MEASURED:-10}
warmup=${SECONDS_WARMUP:-15}
export BROKER_PORT=${BROKER_PORT:-30911} NAMESRV_PORT=${NAMESRV_PORT:-30876}

# Whatever else ran before the start would disturb the figures: they are published with it.
load_before=$(cut -d' ' -f1 /proc/loadavg)

die() { echo "$(basename "$0"): $*" >&2; exit 1; }

# choose SCENARIO...: which scenarios run.
choose() {
  local scenario
  scenarios=${*:-$all}
  for scenario in $scenarios; do
    [[ " $all " == *" $scenario "* ]] || die "there is no scenario $scenario; there are $all"
  done
  [ -x "$steadfast" ] || die "$steadfast is not there: run cargo build --profile dist first"
}

# prepare: makes a directory for the run, which goes with it.
prepare() {
  work=$(mktemp -d "${WORK:-${TMPDIR:-/tmp}}/compare.XXXXXX")
  results=$work/results.json
  data=$work/data
  trap 'cleanup; rm -rf "$work"' EXIT
}

free_ports() {
  local port
  for port; do
    ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || die "port $port is in use: set BROKER_PORT and NAMESRV_PORT"
  done
}

# in_turn SCENARIO SYSTEM:FLUSH,... COMMAND...: the systems, one after the other, in every round.
in_turn() {
  local scenario=$1 round system flush each
  IFS=, read -ra each <<<"$2"
  shift 2
  for round in $(seq "$rounds"); do
    for system in "${each[@]}"; do
      flush=${system#*:} system=${system%:*}
      echo "== $scenario, round $round of $rounds: $system, ${flush}_FLUSH" >&2
      up "$system" "$flush"
      warm
      "$@" --label "$scenario/$system"
      down "$system"
    done
  done
}

# Both with SYNC_FLUSH.
both=steadfast:SYNC,rocketmq:SYNC

machine() {
  local disk
  disk=$(findmnt -nro FSTYPE,OPTIONS -T "$work" | head -1)
  echo "$(nproc) cores ($(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)), $(awk '/MemTotal/ {printf "%.0f GiB", $2 / 1048576}' /proc/meminfo) of memory, Linux $(uname -r), data on ${disk%% *}, load average $load_before before the start"
}

# publish GOAL...: appends the table to $out. A goal whose scenario did not run is left out.
publish() {
  local wanted=() goal
  for goal; do
    [[ " $scenarios " != *" ${goal%% *} "* ]] || wanted+=(--want "$goal")
  done
  {
    [ -s "$out" ] || cat <<'INTRO'
# Performance

Measured by the commands in `bench`, which say what each scenario is: this server and Apache RocketMQ on the same
machine, in turn, each started anew with an empty directory for every run. Client and server share the machine. Messages
have 1 KiB bodies, one message a request. Absolute figures depend on the machine and on what its host does beside;
only the ratios of one run mean something. CPU is that of the server process. Memory is what is resident, at most.

No figure is from a run in which an acknowledged message was missing, doubled or damaged: `steadfast bench` reads
everything back before it prints one.
INTRO
    echo
    echo "## $(date -u +%Y-%m-%d), commit $(git -C "$root" rev-parse --short HEAD)$(git -C "$root" diff --quiet HEAD -- crates || echo ' with changes')"
    echo
    echo "\`bench/$(basename "$0")\`. $(machine). Apache RocketMQ $(sed -n 's/^version=//p' "$peer") with a heap of ${BROKER_HEAP:-1g}. ${measured} s for each run, after ${warmup} s of full load to warm up."
    echo
    "$steadfast" bench --compare "$results" "${wanted[@]}"
  } >"$work/section"
  mkdir -p "$(dirname "$out")"
  cat "$work/section" >>"$out"
  cat "$work/section"
}
