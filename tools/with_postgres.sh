#!/usr/bin/env bash
# Run a command with a throw-away PostgreSQL behind it: tools/with_postgres.sh pytest tests/store
#
# Installs the server by apt where it is missing, starts a cluster of its own on a free port of the loopback interface,
# exports AGENTTTS_TEST_POSTGRES with its URL, and removes the cluster afterwards, whatever happens.
set -euo pipefail

if [ "$#" -eq 0 ]; then
  echo "usage: $0 COMMAND [ARGUMENT...]" >&2
  exit 2
fi

server_programs() { # the folder with initdb and pg_ctl, newest version first; empty where there is none
  local found
  found="$(find /usr/lib/postgresql /usr/local/pgsql /opt/homebrew/opt -name initdb -path '*/bin/initdb' 2>/dev/null | sort -rV | head -n 1)"
  if [ -z "$found" ]; then found="$(command -v initdb || true)"; fi
  if [ -n "$found" ]; then dirname "$found"; fi
}

as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi; }

bin="$(server_programs)"
if [ -z "$bin" ]; then
  echo "with_postgres: installing postgresql" >&2
  as_root apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive as_root apt-get install -y -qq --no-install-recommends postgresql >&2
  bin="$(server_programs)"
fi

# The server refuses to run as root.
if [ "$(id -u)" -eq 0 ]; then
  as_server() { (cd / && runuser -u postgres -- "$@"); }
else
  as_server() { "$@"; }
fi

folder="$(mktemp -d /tmp/agenttts-postgres.XXXXXX)"
if [ "$(id -u)" -eq 0 ]; then chown postgres "$folder"; fi

clean_up() {
  as_server "$bin/pg_ctl" -D "$folder/data" -m immediate stop >/dev/null 2>&1 || true
  rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

as_server "$bin/initdb" -D "$folder/data" -U agenttts -A trust -E UTF8 --locale=C >"$folder.log" 2>&1 || {
  cat "$folder.log" >&2
  rm -f "$folder.log"
  exit 1
}
rm -f "$folder.log"

started=""
for _ in 1 2 3; do # another program may take the port between asking and binding
  port="$(free_port)"
  if as_server "$bin/pg_ctl" -D "$folder/data" -l "$folder/server.log" -w -t 60 \
    -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories=$folder -c fsync=off" start >/dev/null; then
    started=yes
    break
  fi
done
if [ -z "$started" ]; then
  cat "$folder/server.log" >&2
  exit 1
fi

export AGENTTTS_TEST_POSTGRES="postgresql://agenttts@127.0.0.1:$port/postgres"
"$@"
