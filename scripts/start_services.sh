#!/usr/bin/env bash
# Makes PostgreSQL and Redis on 127.0.0.1 ready for `make test-services`: starts what doesn't run, and sees to it that the
# role and database "healing" exist there. With --install it also installs what is missing, as root on Debian.
set -euo pipefail

cd /  # the postgres user may not be allowed to read this folder
install=${1:-}
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
wait_for() { for _ in $(seq 100); do listens "$1" && return 0; sleep 0.1; done; return 1; }
fail() { echo "$*" >&2; exit 1; }

provide() { # provide NAME PORT PACKAGE START...
    local name=$1 port=$2 package=$3
    shift 3
    listens "$port" && return 0
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
        fail "No $name on 127.0.0.1:$port, and only root on Debian can start it here. Start it, or set DATABASE_URL and CELERY_BROKER_URL."
    if ! dpkg -s "$package" >/dev/null 2>&1; then
        [ "$install" = --install ] || fail "No $name on 127.0.0.1:$port. Install and start it: make services"
        echo "Installing $package ..."
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq >/dev/null
        apt-get install -y -qq "$package" >/dev/null
    fi
    listens "$port" || "$@" >/dev/null || true
    wait_for "$port" || fail "$name was started but does not answer on 127.0.0.1:$port."
}

start_postgresql() {
    local version
    version=$(find /etc/postgresql -mindepth 1 -maxdepth 1 -printf '%f\n' | sort -n | tail -n 1)
    pg_ctlcluster --skip-systemctl-redirect "$version" main start
}
start_redis() { redis-server --daemonize yes --bind 127.0.0.1 --port 6379 --save "" --appendonly no --dir /tmp; }

provide PostgreSQL 5432 postgresql start_postgresql
provide Redis 6379 redis-server start_redis

# The role may make databases, because the test runner makes its own. A password that anyone may know is enough for a
# server that listens on this machine only and holds nothing but test data.
as_healing() { PGPASSWORD=healing psql -h 127.0.0.1 -U healing -d healing -qtAc 'select 1' >/dev/null 2>&1; }
as_superuser() {
    psql -h 127.0.0.1 -U postgres -w -d postgres -v ON_ERROR_STOP=1 -qtA "$@" 2>/dev/null ||
        { [ "$(id -u)" = 0 ] && runuser -u postgres -- psql -d postgres -v ON_ERROR_STOP=1 -qtA "$@"; }
}
if ! as_healing; then
    [ "$(as_superuser -c "select 1 from pg_roles where rolname = 'healing'")" = 1 ] ||
        as_superuser -c "create role healing login createdb password 'healing'" ||
        fail "Can't make the role healing in PostgreSQL on 127.0.0.1:5432. Set DATABASE_URL to a database you may use."
    [ "$(as_superuser -c "select 1 from pg_database where datname = 'healing'")" = 1 ] ||
        as_superuser -c "create database healing owner healing"
    as_healing || fail "PostgreSQL on 127.0.0.1:5432 does not let the role healing in. Set DATABASE_URL to a database you may use."
fi
echo "PostgreSQL and Redis answer on 127.0.0.1."
