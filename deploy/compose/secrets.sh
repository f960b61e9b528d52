#!/bin/sh
# Writes .env for compose.yaml with new secrets, readable by you alone. Refuses to replace an existing one: whoever loses
# DB_ROLE_SECRET locks the services out of their database, whoever loses SECRETS_KEY loses what is stored under it.
# JWT_SECRET is the Go core's: give it in the environment (JWT_SECRET=... deploy/compose/secrets.sh), or one is made up.
# SENDER_EMAIL likewise: what stands there otherwise is good for the mail catcher only.
set -eu
cd "$(dirname "$0")/../.."
out=${1:-.env}
[ ! -e "$out" ] || { echo "$out exists: keep it, or move it away yourself" >&2; exit 1; }
command -v openssl >/dev/null || { echo "openssl is needed" >&2; exit 1; }
umask 077
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

secret() { openssl rand -hex 32; }
base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }

openssl genpkey -algorithm ed25519 -outform DER -out "$work/key" # PKCS #8: the last 32 bytes are the key itself
signing_key=$(tail -c 32 "$work/key" | base64url)
public_key=$(openssl pkey -inform DER -in "$work/key" -pubout -outform DER | tail -c 32 | base64url)

# LavinMQ stores, and takes, base64(salt + sha256(salt + password)) with a salt of four bytes.
amqp_password=$(secret)
salt=$(openssl rand -hex 2)
amqp_password_hash=$({ printf %s "$salt"; printf %s "$salt$amqp_password" | openssl dgst -sha256 -binary; } | openssl base64 -A)

cat >"$work/env" <<END
POSTGRES_PASSWORD=$(secret)
DB_ROLE_SECRET=$(secret)
AMQP_PASSWORD=$amqp_password
AMQP_PASSWORD_HASH=$amqp_password_hash
JWT_SECRET=${JWT_SECRET:-$(secret)}
INTERNAL_SIGNING_KEY=$signing_key
INTERNAL_PUBLIC_KEY=$public_key
SECRETS_KEY=$(secret)
SENDER_EMAIL=${SENDER_EMAIL:-no-reply@backoffice.example}
END
mv "$work/env" "$out"
echo "wrote $out"
