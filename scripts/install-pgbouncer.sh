#!/usr/bin/env bash
# Makes sure that PgBouncer is here. What is installed is the system's own
# package. It never fails: what needs the pooler skips itself and says so.
set -uo pipefail

skipped='whatever runs behind PgBouncer is skipped'

# The places are those of internal/devpg.
found() { command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ]; }

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

# Debian's package starts a pooler at once, which nobody needs here. A policy
# that somebody else has made is left alone.
policy=/usr/sbin/policy-rc.d

with_apt() {
	if [ ! -e "$policy" ]; then
		trap 'as_root rm -f "$policy"' EXIT
		printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
		as_root chmod 755 "$policy"
	fi
	as_root apt-get update -q >&2
	as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=120 pgbouncer >&2
}

found && exit 0
if ! command -v apt-get >/dev/null; then
	echo "PgBouncer is missing, install it with your package manager; until then $skipped" >&2
elif [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
	echo "PgBouncer is missing, run \`apt-get install pgbouncer\` as root; until then $skipped" >&2
else
	echo 'PgBouncer is missing: installing the package pgbouncer with apt-get' >&2
	with_apt && found || echo "PgBouncer could not be installed: $skipped" >&2
fi
exit 0
