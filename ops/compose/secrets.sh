#!/bin/sh
# Makes the passwords that docker-compose.yml hands to its services, once, in var/compose. Bode's own keys are made in a
# volume by the service `keys`.
set -eu
cd "$(dirname "$0")/../.."
folder=var/compose
if [ -e "$folder/postgres_password" ]; then
    echo "$folder has passwords already: the database knows the one that is there"
    exit 0
fi
password() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
mkdir -p "$folder"
chmod 700 "$folder"
postgres=$(password)
# Compose mounts the files as they are, into containers that run as somebody else: the folder is what keeps others out.
umask 022
printf %s "postgresql://bode:$postgres@postgres/bode" >"$folder/BODE__DATABASE__URL"
password >"$folder/grafana_password"
printf %s "$postgres" >"$folder/postgres_password"
echo "made $folder; Grafana's user is admin, with the password in $folder/grafana_password"
