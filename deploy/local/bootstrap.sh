#!/bin/sh
# Makes this checkout runnable: .venv with the locked packages and our own members, and a broker where there is none.
# Does nothing, and needs no network, when nothing changed. Usage: deploy/local/bootstrap.sh [no-broker]
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"
mkdir -p var

say() { printf '%s\n' "$*"; }
fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

# Two commands at once (make run, make test) would build the same .venv.
if [ -z "${BACKOFFICE_BOOTSTRAP_LOCKED:-}" ] && command -v flock >/dev/null; then
    exec env BACKOFFICE_BOOTSTRAP_LOCKED=1 flock var/bootstrap.lock "$0" "$@"
fi

as_root_on_debian() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

# Waits for apt's locks: another checkout, or the system itself, may be installing at the same time.
apt_get() { DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq "$@" >>var/apt.log 2>&1; }

# A fresh machine has no package lists yet, and those of an old one may name versions that are gone.
apt_install() {
    : >var/apt.log
    apt_get install -y --no-install-recommends "$@" || {
        say "  refreshing the package lists"
        apt_get update && apt_get install -y --no-install-recommends "$@"
    } || {
        tail -n 5 var/apt.log >&2
        return 1
    }
}

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

can_make_venv() { "$1" -c 'import ensurepip' 2>/dev/null || as_root_on_debian; }

# The system's own first: it is built with optimisation, which one compiled by hand often is not (1.4 times slower here).
find_python() {
    for candidate in "${PYTHON:-/usr/bin/python3}" python3 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null && new_enough "$candidate" && can_make_venv "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

# Only the lock and the members decide what is installed; the path and the Python are in it because .venv names both.
fingerprint() {
    {
        cat requirements.lock libs/*/pyproject.toml gateway/pyproject.toml services/*/pyproject.toml deploy/local/pyproject.toml
        say "$root"
        .venv/bin/python -c 'import sys; print(sys.version)'
    } | sha256sum | cut -d ' ' -f 1
}

install_packages() {
    if [ -x .venv/bin/python ] && new_enough .venv/bin/python && [ -f .venv/installed ] &&
        [ "$(cat .venv/installed)" = "$(fingerprint)" ]; then
        return
    fi
    python=$(find_python) || {
        as_root_on_debian || fail "Python 3.11 or later with venv is needed (Debian: python3-venv): put it on PATH or set PYTHON."
        say "installing Python"
        apt_install python3 python3-venv
        python=$(find_python) || fail "this system's Python is older than 3.11: set PYTHON to a newer one."
    }
    if ! { [ -x .venv/bin/python ] && new_enough .venv/bin/python && .venv/bin/python -m pip --version >/dev/null 2>&1; }; then
        say "making .venv with $python"
        if ! "$python" -c 'import ensurepip' 2>/dev/null; then
            say "installing python3-venv"
            apt_install python3-venv || apt_install "$(basename "$(readlink -f "$python")")-venv"
        fi
        rm -rf .venv
        "$python" -m venv .venv
    fi
    rm -f .venv/installed
    # The lock pins the installer too: its entry is its first line and the indented hashes below.
    awk '/^[^ #]/ { mine = /^uv==/ } mine && !/^ *#/' requirements.lock >.venv/installer.txt
    if ! .venv/bin/uv --version 2>/dev/null | grep -q "^uv $(sed -n 's/^uv==\([^ ]*\).*/\1/p' .venv/installer.txt)"; then
        say "installing uv"
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r .venv/installer.txt
    fi
    say "installing the locked packages"
    .venv/bin/uv pip sync --quiet --python .venv/bin/python --require-hashes requirements.lock
    set --
    for member in libs/*/ gateway/ services/*/ deploy/local/; do
        [ ! -f "${member}pyproject.toml" ] || set -- "$@" --editable "$member"
    done
    .venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation "$@"
    fingerprint >.venv/installed
}

install_broker() {
    if [ -n "${AMQP_URL:-}" ] || command -v lavinmq >/dev/null || [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ]; then
        return
    fi
    as_root_on_debian || return 0 # The runner says what the choices are.
    say "installing RabbitMQ (about 10 s)"
    # The package would start a broker of its own. Masked as systemctl does it, which may not be here yet.
    unit=/etc/systemd/system/rabbitmq-server.service
    if [ ! -e "$unit" ] && [ ! -L "$unit" ]; then
        mkdir -p "${unit%/*}"
        ln -s /dev/null "$unit"
        say "  its system service is masked; systemctl unmask rabbitmq-server lets it run"
    fi
    # The same for init systems that know no masking.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
        trap 'rm -f "$policy"' EXIT
        trap 'exit 130' INT TERM
    fi
    apt_install rabbitmq-server || say "  that failed; a Docker engine or AMQP_URL will do as well"
}

install_packages
[ "${1:-}" = no-broker ] || install_broker
